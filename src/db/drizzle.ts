import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import {
  PgDatabase,
  type PgDialect,
  type PgQueryResultHKT,
  PgSession,
  PgTransaction,
  type PreparedQueryConfig,
  type SelectedFieldsOrdered,
} from 'drizzle-orm/pg-core';
import type { ExtractTablesWithRelations, RelationalSchemaConfig, TablesRelationalConfig } from 'drizzle-orm/relations';
import type { Query, SQL } from 'drizzle-orm/sql';
import { PreparedQuery, type QueryResult, type RowsMapper, runQueries } from './prepared-query.ts';
import type { Scope } from './scope.ts';
import type { TransactionOptions } from './transport.ts';

interface QueryResultHKT extends PgQueryResultHKT {
  type: QueryResult<this['row']>;
}

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

type Drizzle<TSchema extends Schema> = PgDatabase<QueryResultHKT, TSchema>;

/** A database, a transaction or a session: what a function that queries should ask for. */
export type Queryable<TSchema extends Schema = Schema> = Drizzle<TSchema> & { batch: Batch };

/** Reads from a server whose data may lag. */
export type Replica<TSchema extends Schema = Schema> = Pick<
  Drizzle<TSchema>,
  'select' | 'selectDistinct' | 'selectDistinctOn' | 'query' | '$count'
>;

/** A drizzle database whose statements run in a scope. */
export class ScopedDatabase<TSchema extends Schema> extends PgDatabase<QueryResultHKT, TSchema> {
  /** Runs queries that need none of each other's results as one transaction. One round trip. */
  readonly batch: Batch<[options?: TransactionOptions]>;

  constructor(context: DrizzleContext, scope: Scope) {
    super(context.dialect, new Session(context, scope), context.schema as never);
    this.batch = (queries, options = {}) => runQueries((statements) => scope.batch(statements, options), queries);
  }

  /**
   * Runs `callback` in a transaction: commits when it resolves, rolls back when it throws. N + 1 round trips for N
   * statements awaited one by one; `tx.batch` sends several in one. On a database, `callback` runs again when the transaction
   * lost against a concurrent one (SQLSTATE 40001, 40P01) or could not begin: what it does outside the transaction must
   * bear that.
   */
  override transaction<T>(
    callback: (tx: Transaction<TSchema>) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    return this._.session.transaction(callback as never, options as never);
  }
}

/** An interactive transaction. */
export class Transaction<TSchema extends Schema = Schema> extends PgTransaction<
  QueryResultHKT,
  TSchema,
  ExtractTablesWithRelations<TSchema>
> {
  /** Sends several queries in one flight. One round trip. */
  readonly batch: Batch;

  constructor(context: DrizzleContext, scope: Scope) {
    super(context.dialect, new Session(context, scope), context.schema as never);
    this.batch = (queries) => runQueries((statements) => scope.batch(statements, {}), queries);
  }

  /** Runs `callback` under a savepoint: when it throws, only what it did is undone. Costs no round trip of its own. */
  override transaction<T>(callback: (tx: Transaction<TSchema>) => Promise<T>): Promise<T> {
    return this._.session.transaction(callback as never);
  }
}

/** One connection that keeps its state from statement to statement. */
export interface PinnedSession<TSchema extends Schema = Schema> extends ScopedDatabase<TSchema> {
  /** Calls `listener` with the payload of each notification on `channel`. */
  readonly listen: (channel: string, listener: (payload: string) => void) => Promise<void>;
}

export function pinnedSession<TSchema extends Schema>(context: DrizzleContext, scope: Scope): PinnedSession<TSchema> {
  const listeners: { channel: string; listener: (payload: string) => void }[] = [];
  scope.onNotification?.((name, payload) => {
    for (const { channel, listener } of listeners) if (channel === name) listener(payload);
  });
  return Object.assign(new ScopedDatabase<TSchema>(context, scope), {
    async listen(channel: string, listener: (payload: string) => void) {
      listeners.push({ channel, listener });
      await scope.run({ text: `listen ${context.dialect.escapeName(channel)}`, params: [] });
    },
  });
}

/** drizzle's session over a scope: it knows neither transports nor connections. */
class Session extends PgSession<QueryResultHKT, Schema, TablesRelationalConfig> {
  readonly context: DrizzleContext;
  readonly scope: Scope;

  constructor(context: DrizzleContext, scope: Scope) {
    super(context.dialect);
    this.context = context;
    this.scope = scope;
  }

  override prepareQuery<T extends PreparedQueryConfig>(
    query: Query,
    fields: SelectedFieldsOrdered | undefined,
    _name: string | undefined,
    _isResponseInArrayMode: boolean,
    mapRows?: RowsMapper,
  ) {
    return new PreparedQuery<T>(query, this.scope.run, fields, mapRows);
  }

  override async count(query: SQL): Promise<number> {
    const { rows } = await this.execute<QueryResult>(query);
    return Number(rows[0]?.['count']);
  }

  override transaction<T>(
    callback: (tx: Transaction<never>) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    return this.scope.transaction(options, (scope) => callback(new Transaction<never>(this.context, scope)));
  }
}
