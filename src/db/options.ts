import type { DrizzleConfig } from 'drizzle-orm/utils';
import type { Operation } from './choose-transport.ts';
import type { TransportName, Transports } from './transport.ts';

/** A `postgresql://` URL, or a function that finds it: called at the first use, and again when authentication fails. */
export type DatabaseUrl = string | (() => string | Promise<string>);

export interface DatabaseUrls {
  /** For the application's role; it may lead through the provider's pooler. */
  url: DatabaseUrl;
  /** The same database without a pooler, for sessions. Default: `url`, without Neon's or PlanetScale's pooler but no other. */
  unpooledUrl?: DatabaseUrl | undefined;
  /** A server whose data may lag, for `db.replica`. Default: none. */
  replicaUrl?: DatabaseUrl | undefined;
}

/** Some or all of them; a missing or undefined one takes its default. */
export type Settings<T> = { [Name in keyof T]?: T[Name] | undefined } | undefined;

export interface DatabaseOptions<TSchema> extends DatabaseUrls, Pick<DrizzleConfig, 'casing'> {
  /** drizzle tables and relations. */
  schema: TSchema;
  transports: Transports;
  /** How long a socket may live: `request` on Cloudflare Workers, where it cannot serve two; elsewhere `instance`. */
  sockets: 'request' | 'instance';
  /** The most sockets open at once to one address. Default: 4 for a request, 10 for an instance. */
  maxSockets?: number | undefined;
  timeouts?: Settings<Timeouts>;
  retry?: Settings<RetryOptions>;
  /** Called once, with what is unwise about the configuration. Default: `console.warn`. */
  onWarning?: ((message: string) => void) | undefined;
}

/** Milliseconds; `Infinity`: no deadline. What exceeds one fails with kind `timeout` and is cancelled on the server. */
export interface Timeouts {
  /** To wait for a place in the pool; for a socket to become usable; for a function to return a URL. Default: 10,000. */
  connectMs: number;
  /**
   * For one exchange with the server. In transactions and batches it replaces the role's `statement_timeout`, so that the
   * server enforces it as well. Default: 30,000.
   */
  statementMs: number;
  /** For a whole one-shot, batch or transaction, including all retries. A session has none. Default: 60,000. */
  operationMs: number;
}

export interface RetryOptions {
  /** Tries in total, including the first. Default: 3. */
  attempts: number;
  /** The longest wait before the second try, in milliseconds; it doubles with each further try. Default: 50. */
  baseMs: number;
  /** Retries per operation, on average, so that trouble does not multiply the traffic. Default: 0.1. */
  ratio: number;
}

export interface RequestScope {
  /** When it aborts, everything that the request is still doing in the database is stopped. */
  signal?: AbortSignal | undefined;
  /** Called for every exchange with the database. */
  onQuery?: ((event: QueryEvent) => void) | undefined;
  /** The platform's: keeps the instance alive until the promise passed to it has settled. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** One exchange with the database, for logs and metrics. Holds no SQL and no parameters. */
export interface QueryEvent {
  operation: Operation;
  transport: TransportName;
  /** How often the client waited for the server, at the PostgreSQL layer. */
  roundTrips: number;
  ms: number;
  /** Rows returned or affected. */
  rows: number;
  /** Why it failed, if it did: the SQLSTATE, or the error's kind where the server gave none. */
  error?: string | undefined;
}
