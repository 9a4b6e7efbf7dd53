import { entityKind } from 'drizzle-orm/entity';
import { PgDatabase, PgDialect } from 'drizzle-orm/pg-core';
import { createTableRelationsHelpers, extractTablesRelationalConfig } from 'drizzle-orm/relations';
import type { Timeouts } from './deadline.ts';
import { Session } from './drizzle.ts';
import { createExecutor, type Executor, type QueryEvent } from './executor.ts';
import { createPools, type Pools } from './pool.ts';
import { type DrizzleContext, PinnedSession, type Replica, type Schema, ScopedDatabase } from './queryable.ts';
import { createRetry, type RetryOptions } from './retry.ts';
import { createTargetSource, type DatabaseUrls } from './targets.ts';
import type { Transports } from './transport.ts';

export type { Queryable, Transaction } from './queryable.ts';
export type { PinnedSession };

export interface DatabaseOptions<TSchema extends Schema> extends DatabaseUrls {
  /** drizzle tables and relations. */
  schema: TSchema;
  transports: Transports;
  /**
   * How long a socket may live. `request`: on platforms where a socket opened for one request cannot serve another
   * (Cloudflare Workers). `instance`: everywhere else.
   */
  sockets: 'request' | 'instance';
  /** Sockets open at once to one address, for a request or for the instance. */
  maxSockets?: number | undefined;
  timeouts?: Partial<Timeouts> | undefined;
  retry?: Partial<RetryOptions> | undefined;
  /** Told once what is unwise about the configuration. Default: `console.warn`. */
  onWarning?: ((message: string) => void) | undefined;
}

export interface RequestScope {
  /** The platform's: keeps the instance alive until the promise passed to it has settled. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
  /** Stops everything that the request still does at the database when it aborts. */
  signal?: AbortSignal | undefined;
  /** Called for every exchange with the database. */
  onQuery?: ((event: QueryEvent) => void) | undefined;
}

/** Workers allow a request six connections at once, those of HTTP requests included. */
const DEFAULT_MAX_SOCKETS = { request: 4, instance: 10 };

/** A suspended Neon database wakes within a second or two; a request to an edge API lasts no minute. */
const DEFAULT_TIMEOUTS: Timeouts = { connectMs: 10_000, statementMs: 30_000, operationMs: 60_000 };

const DEFAULT_RETRY: RetryOptions = { attempts: 3, baseMs: 50, ratio: 0.1 };

/** Well below the five minutes after which Neon suspends a database that nobody uses. */
const IDLE_MS = 60_000;

/**
 * A drizzle database that picks the transport for what is asked of it. Opens nothing until the first statement.
 *
 * @example
 * const database = createDatabase({
 *   url, schema, transports: { http: neonHttp(), websocket: neonWebSocket() }, sockets: 'request',
 * });
 * const db = database.forRequest({ waitUntil });
 * await db.select().from(accounts); // HTTP, one round trip
 * await db.transaction(async (tx) => { … }); // WebSocket
 *
 * @throws {DatabaseError} when a connection string cannot be used
 */
export function createDatabase<TSchema extends Schema>(options: DatabaseOptions<TSchema>): Database<TSchema> {
  const { schema, transports, sockets, maxSockets: max = DEFAULT_MAX_SOCKETS[sockets] } = options;
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const targets = createTargetSource(options, options.onWarning ?? console.warn);
  const retry = createRetry({ ...DEFAULT_RETRY, ...options.retry });
  const { tables, tableNamesMap } = extractTablesRelationalConfig(schema, createTableRelationsHelpers);
  const context = { dialect: new PgDialect(), schema: { fullSchema: schema, schema: tables, tableNamesMap } };
  const newPools = () =>
    createPools({ max, connectMs: timeouts.connectMs, ...(sockets === 'instance' && { idleMs: IDLE_MS }) });
  const instancePools = newPools();

  const forRequest = ({ waitUntil, signal, onQuery }: RequestScope): Database<TSchema> => {
    const pools = sockets === 'request' ? newPools() : instancePools;
    return database(pools, { signal, onQuery }, async () => {
      if (pools === instancePools) return; // they outlive the request
      const drained = pools.drain();
      waitUntil?.(drained);
      await drained;
    });
  };
  const database = (pools: Pools, scope: RequestScope, close: () => Promise<void>) => {
    const executor = createExecutor({ ...scope, transports, targets, pools, timeouts, retry });
    return new Database<TSchema>(context, executor, { forRequest, close });
  };
  return database(instancePools, {}, () => instancePools.drain());
}

interface Lifetime<TSchema extends Schema> {
  forRequest: (scope: RequestScope) => Database<TSchema>;
  close: () => Promise<void>;
}

/** Made by `createDatabase`. */
export class Database<TSchema extends Schema = Schema> extends ScopedDatabase<TSchema> {
  static override readonly [entityKind]: string = 'EdgeDatabase';

  /** The database for one request. Costs and opens nothing; `close` it when the response is ready. */
  readonly forRequest: (scope: RequestScope) => Database<TSchema>;

  /**
   * Ends a lifetime: idle sockets are closed now, those in use as soon as their work is done. A request's database whose
   * sockets belong to the instance has nothing to close. Idempotent.
   */
  readonly close: () => Promise<void>;

  /**
   * Lends `callback` a connection of its own to PostgreSQL itself, for what outlives a transaction: advisory locks, LISTEN,
   * cursors, temporary tables. It is closed afterwards.
   */
  declare readonly session: <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) => Promise<T>;

  readonly #makeReplica: () => Replica<TSchema>;
  #replica: Replica<TSchema> | undefined;

  constructor(context: DrizzleContext, executor: Executor, { forRequest, close }: Lifetime<TSchema>) {
    super(context, executor);
    this.forRequest = forRequest;
    this.close = close;
    this.#makeReplica = () => {
      const { dialect, schema } = context;
      const session = new Session(dialect, executor.read, (body, options) => this.transaction(body as never, options));
      return new PgDatabase(dialect, session, schema as never);
    };
    const session = <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) =>
      executor.session((scope, lease) => callback(new PinnedSession<TSchema>(context, scope, lease)));
    // drizzle keeps its own session under this name, for its query builders: what is here is both.
    this.session = Object.setPrototypeOf(session, this.session) as typeof session;
  }

  /**
   * Reads from the replica, which may lag. Reads from the primary where there is no replica or it does not answer, and once
   * this database (a request's, if it is one) may have written.
   */
  get replica(): Replica<TSchema> {
    return (this.#replica ??= this.#makeReplica());
  }
}
