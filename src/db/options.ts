import type { DrizzleConfig } from 'drizzle-orm/utils';
import type { Operation } from './choose-transport.ts';
import type { TransportName, Transports } from './transport.ts';

/** A `postgresql://` URL, or what finds it out: it is asked at the first use, and once more when a log-in fails. */
export type DatabaseUrl = string | (() => string | Promise<string>);

export interface DatabaseUrls {
  /** The application's role; it may lead through the provider's pooler. */
  url: DatabaseUrl;
  /** The same database without a pooler, for sessions. Default: `url`, less Neon's or PlanetScale's pooler. */
  unpooledUrl?: DatabaseUrl | undefined;
  /** A server whose data may lag, for `db.replica`. Default: none. */
  replicaUrl?: DatabaseUrl | undefined;
}

/** Some or all of them; one that is missing or undefined takes its default. */
export type Settings<T> = { [Name in keyof T]?: T[Name] | undefined } | undefined;

export interface DatabaseOptions<TSchema> extends DatabaseUrls, Pick<DrizzleConfig, 'casing'> {
  /** drizzle tables and relations. */
  schema: TSchema;
  transports: Transports;
  /** How long a socket may live: `request` on Cloudflare Workers, where it cannot serve another; else `instance`. */
  sockets: 'request' | 'instance';
  /** Sockets open at once to one address. Default: 4 for a request, 10 for an instance. */
  maxSockets?: number | undefined;
  timeouts?: Settings<Timeouts>;
  retry?: Settings<RetryOptions>;
  /** Told once what is unwise about the configuration. Default: `console.warn`. */
  onWarning?: ((message: string) => void) | undefined;
}

/** Milliseconds; `Infinity`: no deadline. What passes one fails with kind `timeout`, and is stopped on the server. */
export interface Timeouts {
  /** For a place in the pool; for a socket until it is usable; for a function that gives a URL. Default: 10,000. */
  connectMs: number;
  /**
   * For one exchange with the server. In transactions and batches it replaces the role's `statement_timeout`: the server
   * enforces it, too. Default: 30,000.
   */
  statementMs: number;
  /** For a whole one-shot, batch or transaction, every retry included. A session has none. Default: 60,000. */
  operationMs: number;
}

export interface RetryOptions {
  /** Tries in all, the first among them. Default: 3. */
  attempts: number;
  /** The longest wait before the second try, in milliseconds; it doubles with every further one. Default: 50. */
  baseMs: number;
  /** Retries for each operation, on average, so that trouble does not multiply the traffic. Default: 0.1. */
  ratio: number;
}

export interface RequestScope {
  /** Stops everything that the request still does at the database when it aborts. */
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
  /** Waits for the server at the PostgreSQL layer. */
  roundTrips: number;
  ms: number;
  /** Rows returned or affected. */
  rows: number;
  /** Why it failed: the SQLSTATE, or the error's kind where the server gave none. */
  error: string | undefined;
}
