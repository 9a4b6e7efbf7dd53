import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import { PgDatabase, PgDialect, type PgQueryResultHKT, PgTransaction } from 'drizzle-orm/pg-core';
import {
  createTableRelationsHelpers,
  extractTablesRelationalConfig,
  type ExtractTablesWithRelations,
} from 'drizzle-orm/relations';
import type { SQL } from 'drizzle-orm/sql';
import { prepareQuery, type PreparedQuery, type QueryResult, runQueries } from './internal/prepared-query.ts';
import type { DatabaseOptions } from './options.ts';
import { command, type Scope } from './transaction.ts';
import type { TransactionOptions } from './transport.ts';

/** Exported for declaration files: those of an application refer to it wherever its functions return a query. */
export interface QueryResultHKT extends PgQueryResultHKT {
  type: QueryResult<this['row']>;
}

export type Schema = Record<string, unknown>;

/** A database, a transaction or a session: what a function that queries should take as its parameter. */
export interface Queryable<TSchema extends Schema = Schema> extends PgDatabase<QueryResultHKT, TSchema> {
  /** Runs queries that do not need each other's results, as one transaction or as part of the current one. One round trip. */
  readonly batch: <U extends BatchItem<'pg'>, T extends Readonly<[U, ...U[]]>>(
    queries: T,
    options?: TransactionOptions,
  ) => Promise<BatchResponse<T>>;
  /**
   * Runs `callback` in a transaction: commits when it resolves, rolls back when it throws. N + 1 round trips for N
   * statements awaited one by one; `tx.batch` sends several in one. On a database, `callback` runs again when it fails with a
   * `retryable` error (the transaction lost to a concurrent one, SQLSTATE 40001 or 40P01, or a statement could not be sent),
   * or is read only and lost its connection: whatever it does outside the transaction must tolerate that. Within a
   * transaction, this is a savepoint, which takes no options and costs no round trip.
   */
  readonly transaction: <T>(
    callback: (tx: Transaction<TSchema>) => Promise<T>,
    options?: TransactionOptions,
  ) => Promise<T>;
}

/** An interactive transaction. */
export interface Transaction<TSchema extends Schema = Schema>
  extends
    PgTransaction<QueryResultHKT, TSchema, ExtractTablesWithRelations<TSchema>>,
    Pick<Queryable<TSchema>, 'batch'> {
  readonly transaction: Queryable<TSchema>['transaction'];
}

/** A connection that keeps its state and is closed afterwards: for advisory locks, LISTEN, cursors, temporary tables. */
export interface PinnedSession<TSchema extends Schema = Schema> extends Queryable<TSchema> {
  /** Calls `listener` with the payload of each notification on `channel` (at most 63 bytes). What it throws ends the session. */
  readonly listen: (channel: string, listener: (payload: string) => unknown) => Promise<void>;
}

/** Turns scopes into drizzle's databases, transactions and sessions. */
export function createDrizzle<TSchema extends Schema>(options: DatabaseOptions<TSchema>) {
  const dialect = new PgDialect(options); // it reads `casing`
  const { tables, tableNamesMap } = extractTablesRelationalConfig(options.schema, createTableRelationsHelpers);
  const relations = { fullSchema: options.schema, schema: tables, tableNamesMap };

  /** A database's `session` must be both drizzle's `PgSession` and our `session()`: the function gets the other's methods. */
  const open = (scope: Scope, target: object = {}, Class: object = PgDatabase): Queryable<TSchema> => {
    // Through `session`, where a tracer may have put its own `prepareQuery`.
    const execute = (query: SQL) => session.prepareQuery(dialect.sqlToQuery(query)).execute() as Promise<QueryResult>;
    // The part of a `PgSession` that drizzle's builders and its migrator use.
    const session = Object.assign(target, {
      prepareQuery: prepareQuery.bind(undefined, scope),
      execute,
      all: async (query: SQL) => (await execute(query)).rows,
      count: async (query: SQL) => Number((await execute(query)).rows[0]?.['count']),
      transaction: (callback: (tx: unknown) => Promise<unknown>, options: TransactionOptions = {}) =>
        scope.transaction(options, (inner) => callback(open(inner, {}, PgTransaction))),
    });
    const batch = async (queries: readonly BatchItem<'pg'>[], options: TransactionOptions = {}) =>
      await runQueries(
        scope,
        // drizzle's own batches call `_prepare`; its public types hide it.
        queries.map((query) => (query as BatchItem<'pg'> & { _prepare(): PreparedQuery })._prepare()),
        options,
      );
    const database = new (Class as new (...parts: unknown[]) => object)(dialect, session, relations);
    return Object.assign(database, { batch }) as Queryable<TSchema>;
  };

  const openSession = (scope: Scope): PinnedSession<TSchema> => {
    const listen: PinnedSession['listen'] = async (channel, listener) => {
      const { onNotification } = scope;
      scope.onNotification = (notification) =>
        Promise.all([
          onNotification?.(notification),
          notification.channel === channel && listener(notification.payload),
        ]);
      await scope.send([command(`listen ${dialect.escapeName(channel)}`)]);
    };
    return Object.assign(open(scope), { listen });
  };

  return { open, openSession };
}
