import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import { entityKind } from 'drizzle-orm/entity';
import { PgDatabase, PgDialect, PgTransaction } from 'drizzle-orm/pg-core';
import {
  createTableRelationsHelpers,
  type ExtractTablesWithRelations,
  extractTablesRelationalConfig,
  type RelationalSchemaConfig,
  type TablesRelationalConfig,
} from 'drizzle-orm/relations';
import { directTarget, parseConnectionString, roleWarning } from './connection-string.ts';
import { type QueryResultHKT, runQueries, Session } from './drizzle.ts';
import { createExecutor, type Executor, type QueryEvent } from './executor.ts';
import { createPools, type Pools } from './pool.ts';
import { createSessionScope, runTransaction, type SessionScope, type TransactionScope } from './transaction.ts';
import type { Connection, Timeouts, TransactionOptions, Transports } from './transport.ts';

export type Schema = Record<string, unknown>;

export interface DatabaseOptions<TSchema extends Schema> {
  /** `postgresql://` URL of the application's role; it may lead through the provider's pooler. */
  url: string;
  /** The same database without a pooler, for sessions. Default: `url`, less Neon's or PlanetScale's pooler. */
  unpooledUrl?: string | undefined;
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
  /** Defaults: 10 s to connect, 30 s for an HTTP request. */
  timeouts?: Partial<Timeouts> | undefined;
  /** Told once what is unwise about the configuration. Default: `console.warn`. */
  onWarning?: ((message: string) => void) | undefined;
}

export interface RequestScope {
  /** The platform's: keeps the instance alive until the promise passed to it has settled. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
  /** Called for every exchange with the database. */
  onQuery?: ((event: QueryEvent) => void) | undefined;
}

/** Workers allow a request six connections at once, those of HTTP requests included. */
const DEFAULT_MAX_SOCKETS = { request: 4, instance: 10 };

/** A suspended Neon database wakes within a second or two; no request to an edge API should last longer than these. */
const DEFAULT_TIMEOUTS: Timeouts = { connectMs: 10_000, httpMs: 30_000 };

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
  const { url, unpooledUrl, schema, transports, sockets, maxSockets, onWarning = console.warn } = options;
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const { connectMs } = timeouts;
  const pooled = parseConnectionString(url);
  const direct = directTarget(unpooledUrl === undefined ? pooled : parseConnectionString(unpooledUrl));
  const warning = roleWarning(pooled);
  if (warning !== undefined) onWarning(warning);
  const { tables, tableNamesMap } = extractTablesRelationalConfig(schema, createTableRelationsHelpers);
  const max = maxSockets ?? DEFAULT_MAX_SOCKETS[sockets];
  const newPools = () => createPools({ max, connectMs, ...(sockets === 'instance' && { idleMs: IDLE_MS }) });
  const instancePools = newPools();
  const context: DrizzleContext = {
    dialect: new PgDialect(),
    schema: { fullSchema: schema, schema: tables, tableNamesMap },
  };

  const forRequest = ({ waitUntil, onQuery }: RequestScope): Database<TSchema> => {
    const pools = sockets === 'request' ? newPools() : instancePools;
    return database(pools, onQuery, async () => {
      if (pools === instancePools) return; // they outlive the request
      const drained = pools.drain();
      waitUntil?.(drained);
      await drained;
    });
  };

  const database = (pools: Pools, onQuery: RequestScope['onQuery'], close: () => Promise<void>) => {
    const executor = createExecutor({ transports, targets: { pooled, direct }, pools, timeouts, onQuery });
    return new Database<TSchema>(context, executor, { forRequest, close });
  };

  return database(instancePools, undefined, () => instancePools.drain());
}

/** What drizzle's classes are made with. */
interface DrizzleContext {
  dialect: PgDialect;
  schema: RelationalSchemaConfig<TablesRelationalConfig>;
}

interface Lifetime<TSchema extends Schema> {
  forRequest: (scope: RequestScope) => Database<TSchema>;
  close: () => Promise<void>;
}

type Batch<Options extends unknown[] = []> = <U extends BatchItem<'pg'>, T extends Readonly<[U, ...U[]]>>(
  queries: T,
  ...options: Options
) => Promise<BatchResponse<T>>;

/** A database, a transaction or a session: what a function that queries should ask for. */
export type Queryable<TSchema extends Schema = Schema> = PgDatabase<
  QueryResultHKT,
  TSchema,
  ExtractTablesWithRelations<TSchema>
> & { batch: Batch };

/** Made by `createDatabase`. */
export class Database<TSchema extends Schema = Schema> extends PgDatabase<
  QueryResultHKT,
  TSchema,
  ExtractTablesWithRelations<TSchema>
> {
  static override readonly [entityKind]: string = 'EdgeDatabase';
  readonly #context: DrizzleContext;
  readonly #executor: Executor;

  /** The database for one request. Costs and opens nothing; `close` it when the response is ready. */
  readonly forRequest: (scope: RequestScope) => Database<TSchema>;

  /**
   * Ends a lifetime: idle sockets are closed now, those in use as soon as their work is done. A request's database whose
   * sockets belong to the instance has nothing to close. Idempotent.
   */
  readonly close: () => Promise<void>;

  /**
   * Lends `callback` a connection of its own to PostgreSQL itself, for what outlives a transaction: advisory locks, LISTEN,
   * cursors, temporary tables. What is left of them is gone when the promise resolves.
   */
  declare readonly session: <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) => Promise<T>;

  constructor(context: DrizzleContext, executor: Executor, { forRequest, close }: Lifetime<TSchema>) {
    const session = new Session(
      context.dialect,
      (statements) => Promise.all(statements.map(executor.oneShot)),
      (callback, options) => this.transaction(callback as never, options),
    );
    super(context.dialect, session, context.schema as never);
    this.#context = context;
    this.#executor = executor;
    this.forRequest = forRequest;
    this.close = close;
    // drizzle keeps its own session under this name, for its query builders: what is here is both.
    this.session = Object.assign(
      <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) =>
        executor.withConnection('session', (connection) => callback(new PinnedSession<TSchema>(context, connection))),
      {
        prepareQuery: session.prepareQuery.bind(session),
        execute: session.execute.bind(session),
        all: session.all.bind(session),
        count: session.count.bind(session),
      },
    );
  }

  /** Runs queries that need none of each other's results as one transaction. One round trip. */
  readonly batch: Batch<[options?: TransactionOptions]> = (queries, options = {}) =>
    runQueries((statements) => this.#executor.batch(statements, options), queries) as Promise<never>;

  /**
   * Runs `callback` in a transaction: commits when it resolves, rolls back when it throws. N + 1 round trips for N
   * statements awaited one by one; `tx.batch` sends several in one.
   */
  override transaction<T>(
    callback: (tx: Transaction<TSchema>) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    return this.#executor.withConnection('transaction', (connection) =>
      runTransaction(connection, options, (scope) => callback(new Transaction<TSchema>(this.#context, scope))),
    );
  }
}

/** An interactive transaction. */
export class Transaction<TSchema extends Schema = Schema> extends PgTransaction<
  QueryResultHKT,
  TSchema,
  ExtractTablesWithRelations<TSchema>
> {
  static override readonly [entityKind]: string = 'EdgeTransaction';
  readonly #context: DrizzleContext;
  readonly #scope: TransactionScope;

  constructor(context: DrizzleContext, scope: TransactionScope, nestedIndex = 0) {
    const session = new Session(context.dialect, scope.run, (callback) => this.transaction(callback as never));
    super(context.dialect, session, context.schema as never, nestedIndex);
    this.#context = context;
    this.#scope = scope;
  }

  /** Sends several queries in one flight. One round trip. */
  readonly batch: Batch = (queries) => runQueries(this.#scope.run, queries) as Promise<never>;

  /** Runs `callback` under a savepoint: when it throws, only what it did is undone. Costs no round trip of its own. */
  override transaction<T>(callback: (tx: Transaction<TSchema>) => Promise<T>): Promise<T> {
    return this.#scope.savepoint((scope) =>
      callback(new Transaction<TSchema>(this.#context, scope, this.nestedIndex + 1)),
    );
  }
}

/** One connection that keeps its state from statement to statement. */
export class PinnedSession<TSchema extends Schema = Schema> extends PgDatabase<
  QueryResultHKT,
  TSchema,
  ExtractTablesWithRelations<TSchema>
> {
  static override readonly [entityKind]: string = 'EdgePinnedSession';
  readonly #context: DrizzleContext;
  readonly #connection: Connection;
  readonly #scope: SessionScope;

  constructor(context: DrizzleContext, connection: Connection) {
    const scope = createSessionScope(connection);
    const session = new Session(context.dialect, scope.run, (callback, options) =>
      this.transaction(callback as never, options),
    );
    super(context.dialect, session, context.schema as never);
    this.#context = context;
    this.#connection = connection;
    this.#scope = scope;
  }

  /** Runs queries as one transaction. One round trip. */
  readonly batch: Batch<[options?: TransactionOptions]> = (queries, options = {}) =>
    runQueries((statements) => this.#scope.batch(statements, options), queries) as Promise<never>;

  /** Runs `callback` in a transaction on this connection. */
  override transaction<T>(
    callback: (tx: Transaction<TSchema>) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    return this.#scope.transaction(options, (scope) => callback(new Transaction<TSchema>(this.#context, scope)));
  }

  /** Calls `listener` with the payload of each notification on `channel`. */
  async listen(channel: string, listener: (payload: string) => void): Promise<void> {
    this.#connection.onNotification((name, payload) => {
      if (name === channel) listener(payload);
    });
    await this.#scope.run([{ text: `listen ${this.#context.dialect.escapeName(channel)}`, params: [] }]);
  }
}
