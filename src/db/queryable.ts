import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import { entityKind } from 'drizzle-orm/entity';
import { PgDatabase, type PgDialect, PgTransaction } from 'drizzle-orm/pg-core';
import type { ExtractTablesWithRelations, RelationalSchemaConfig, TablesRelationalConfig } from 'drizzle-orm/relations';
import { type QueryResultHKT, runQueries, Session } from './drizzle.ts';
import type { Lease } from './lease.ts';
import type { Scope } from './transaction.ts';
import type { TransactionOptions } from './transport.ts';

export type Schema = Record<string, unknown>;

/** What drizzle's classes are made with. */
export interface DrizzleContext {
  dialect: PgDialect;
  schema: RelationalSchemaConfig<TablesRelationalConfig>;
}

type Batch<Options extends unknown[] = []> = <U extends BatchItem<'pg'>, T extends Readonly<[U, ...U[]]>>(
  queries: T,
  ...options: Options
) => Promise<BatchResponse<T>>;

type Drizzle<TSchema extends Schema> = PgDatabase<QueryResultHKT, TSchema, ExtractTablesWithRelations<TSchema>>;

/** A database, a transaction or a session: what a function that queries should ask for. */
export type Queryable<TSchema extends Schema = Schema> = Drizzle<TSchema> & { batch: Batch };

/** Reads from a server whose data may lag. */
export type Replica<TSchema extends Schema = Schema> = Pick<
  Drizzle<TSchema>,
  'select' | 'selectDistinct' | 'selectDistinctOn' | 'query' | '$count'
>;

/** A drizzle database whose statements run in a scope. */
export class ScopedDatabase<TSchema extends Schema> extends PgDatabase<
  QueryResultHKT,
  TSchema,
  ExtractTablesWithRelations<TSchema>
> {
  static override readonly [entityKind]: string = 'EdgeDatabase';
  readonly #context: DrizzleContext;
  readonly #scope: Scope;

  constructor(context: DrizzleContext, scope: Scope) {
    const session = new Session(context.dialect, scope.run, (body, options) =>
      this.transaction(body as never, options),
    );
    super(context.dialect, session, context.schema as never);
    this.#context = context;
    this.#scope = scope;
  }

  /** Runs queries that need none of each other's results as one transaction. One round trip. */
  readonly batch: Batch<[options?: TransactionOptions]> = (queries, options = {}) =>
    runQueries((statements) => this.#scope.batch(statements, options), queries);

  /**
   * Runs `callback` in a transaction: commits when it resolves, rolls back when it throws. N + 1 round trips for N
   * statements awaited one by one; `tx.batch` sends several in one. On a database, `callback` runs again when the transaction
   * lost against a concurrent one (SQLSTATE 40001, 40P01) or could not begin: what it does outside the transaction must
   * bear that.
   */
  override transaction<T>(
    callback: (tx: Transaction<TSchema>) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    return this.#scope.transaction(options, (scope) => callback(new Transaction<TSchema>(this.#context, scope)));
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
  readonly #scope: Scope;

  constructor(context: DrizzleContext, scope: Scope, nestedIndex = 0) {
    const session = new Session(context.dialect, scope.run, (body) => this.transaction(body as never));
    super(context.dialect, session, context.schema as never, nestedIndex);
    this.#context = context;
    this.#scope = scope;
  }

  /** Sends several queries in one flight. One round trip. */
  readonly batch: Batch = (queries) => runQueries((statements) => this.#scope.batch(statements, {}), queries);

  /** Runs `callback` under a savepoint: when it throws, only what it did is undone. Costs no round trip of its own. */
  override transaction<T>(callback: (tx: Transaction<TSchema>) => Promise<T>): Promise<T> {
    const nested = (scope: Scope) => callback(new Transaction<TSchema>(this.#context, scope, this.nestedIndex + 1));
    return this.#scope.transaction({}, nested);
  }
}

/** One connection that keeps its state from statement to statement. */
export class PinnedSession<TSchema extends Schema = Schema> extends ScopedDatabase<TSchema> {
  static override readonly [entityKind]: string = 'EdgePinnedSession';
  readonly #listen: (channel: string, listener: (payload: string) => void) => Promise<void>;

  constructor(context: DrizzleContext, scope: Scope, lease: Lease) {
    super(context, scope);
    const listeners: Lease['onNotification'][] = [];
    lease.onNotification = (...notification) => listeners.forEach((listener) => listener?.(...notification));
    this.#listen = async (channel, listener) => {
      listeners.push((name, payload) => {
        if (name === channel) listener(payload);
      });
      await scope.run({ text: `listen ${context.dialect.escapeName(channel)}`, params: [] });
    };
  }

  /** Calls `listener` with the payload of each notification on `channel`. */
  listen(channel: string, listener: (payload: string) => void): Promise<void> {
    return this.#listen(channel, listener);
  }
}
