import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import {
  PgDatabase,
  type PgDialect,
  PgPreparedQuery,
  type PgQueryResultHKT,
  PgTransaction,
  type PreparedQueryConfig,
  type SelectedFieldsOrdered,
} from 'drizzle-orm/pg-core';
import type { ExtractTablesWithRelations, RelationalSchemaConfig, TablesRelationalConfig } from 'drizzle-orm/relations';
import { fillPlaceholders, type Query, type SQL } from 'drizzle-orm/sql';
import { mapResultRow } from 'drizzle-orm/utils';
import { misuse } from './error.ts';
import type { Scope } from './scope.ts';
import type { Statement, StatementResult, TransactionOptions } from './transport.ts';
import { decoderFor, encodeParameter } from './values.ts';

/** What `execute` resolves to, whatever the transport. */
export interface QueryResult<Row = Record<string, unknown>> extends Omit<StatementResult, 'rows'> {
  rows: Row[];
}

interface QueryResultHKT extends PgQueryResultHKT {
  type: QueryResult<this['row']>;
}

export type Schema = Record<string, unknown>;

type Drizzle<TSchema extends Schema> = PgDatabase<QueryResultHKT, TSchema>;

/** A database, a transaction or a session: what a function that queries should ask for. */
export interface Queryable<TSchema extends Schema = Schema> extends Drizzle<TSchema> {
  /** Runs queries that need none of each other's results, as one transaction or as a part of the one at hand. One round trip. */
  readonly batch: <U extends BatchItem<'pg'>, T extends Readonly<[U, ...U[]]>>(
    queries: T,
    options?: TransactionOptions,
  ) => Promise<BatchResponse<T>>;

  /**
   * Runs `callback` in a transaction: commits when it resolves, rolls back when it throws. N + 1 round trips for N
   * statements awaited one by one; `tx.batch` sends several in one. On a database, `callback` runs again when the transaction
   * lost against a concurrent one (SQLSTATE 40001, 40P01) or could not begin: what it does outside the transaction must
   * bear that. In a transaction it is a savepoint, which has no options and costs no round trip.
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

/** Reads from a server whose data may lag. */
export type Replica<TSchema extends Schema = Schema> = Pick<
  Drizzle<TSchema>,
  'select' | 'selectDistinct' | 'selectDistinctOn' | 'query' | '$count'
>;

/** One connection that keeps its state from statement to statement. */
export interface PinnedSession<TSchema extends Schema = Schema> extends Queryable<TSchema> {
  /** Calls `listener` with the payload of each notification on `channel`. */
  readonly listen: (channel: string, listener: (payload: string) => void) => Promise<void>;
}

/** What drizzle's classes are made with. */
export interface DrizzleContext<TSchema extends Schema = Schema> {
  dialect: PgDialect;
  schema: RelationalSchemaConfig<TablesRelationalConfig> & { fullSchema: TSchema };
}

type DrizzleClass = new (dialect: PgDialect, session: unknown, schema: unknown) => Drizzle<Schema>;

/** @param Class drizzle's `PgDatabase`, or what extends it */
export function openScope<TSchema extends Schema>(
  context: DrizzleContext<TSchema>,
  scope: Scope,
  Class: unknown = PgDatabase,
): Queryable<TSchema> {
  const database = new (Class as DrizzleClass)(context.dialect, sessionOver(context, scope), context.schema);
  const batch = async (queries: readonly BatchItem<'pg'>[], options: TransactionOptions = {}) => {
    // `_prepare` is what drizzle's own batches call; its types keep it to themselves.
    const prepared = queries.map((query) => (query as unknown as { _prepare(): PgPreparedQuery<never> })._prepare());
    const results = await scope.batch(
      prepared.map((query) => toStatement(query.getQuery())),
      options,
    );
    return prepared.map((query, i) => query.mapResult(results[i], true));
  };
  return Object.assign(database, { batch }) as unknown as Queryable<TSchema>;
}

export function openSession<TSchema extends Schema>(
  context: DrizzleContext<TSchema>,
  scope: Scope,
): PinnedSession<TSchema> {
  const listeners: { channel: string; listener: (payload: string) => void }[] = [];
  scope.onNotification?.((name, payload) => {
    for (const { channel, listener } of listeners) if (channel === name) listener(payload);
  });
  const listen: PinnedSession['listen'] = async (channel, listener) => {
    listeners.push({ channel, listener });
    await scope.run({ text: `listen ${context.dialect.escapeName(channel)}`, params: [] });
  };
  return Object.assign(openScope(context, scope), { listen });
}

/** What drizzle's query builders and its migrator ask of a session. It knows neither transports nor connections. */
function sessionOver<TSchema extends Schema>(context: DrizzleContext<TSchema>, scope: Scope) {
  const execute = (query: SQL) => new PreparedQuery(context.dialect.sqlToQuery(query), scope.run).execute();
  const all = async (query: SQL) => ((await execute(query)) as QueryResult).rows;
  return {
    execute,
    all,
    count: async (query: SQL) => Number((await all(query))[0]?.['count']),
    prepareQuery: (
      query: Query,
      fields: SelectedFieldsOrdered | undefined,
      _name: string | undefined,
      _isResponseInArrayMode: boolean,
      mapRows?: (rows: unknown[][]) => unknown,
    ) => new PreparedQuery(query, scope.run, fields, mapRows),
    transaction: <T>(callback: (tx: unknown) => Promise<T>, options: TransactionOptions = {}) =>
      scope.transaction(options, (inner) => callback(openScope(context, inner, PgTransaction))),
  };
}

type Joins = Record<string, boolean> | undefined;

declare module 'drizzle-orm/utils' {
  /** From a row to what was selected. Exported, but missing from drizzle's types. */
  function mapResultRow(fields: SelectedFieldsOrdered, row: unknown[], joins: Joins): unknown;
}

/** A drizzle query and where it runs. */
class PreparedQuery extends PgPreparedQuery<PreparedQueryConfig> {
  readonly #run: Scope['run'];
  readonly #map: (result: StatementResult) => unknown;
  /** Set by drizzle's select on what it prepares. */
  declare joinsNotNullableMap: Joins;

  constructor(
    query: Query,
    run: Scope['run'],
    fields?: SelectedFieldsOrdered,
    mapRows?: (rows: unknown[][]) => unknown,
  ) {
    super(query, undefined, undefined);
    this.#run = run;
    this.#map = (result) => {
      if (mapRows) return mapRows(decodeRows(result)); // as drizzle's relational queries do
      if (!fields) return toQueryResult(result);
      return decodeRows(result).map((row) => mapResultRow(fields, row, this.joinsNotNullableMap));
    };
  }

  override async execute(placeholderValues?: Record<string, unknown>): Promise<unknown> {
    const [result] = await this.#run(toStatement(this.query, placeholderValues));
    return this.mapResult(result);
  }

  override mapResult(result: unknown): unknown {
    return this.#map(result as StatementResult);
  }
}

function toStatement({ sql, params }: Query, placeholderValues: Record<string, unknown> = {}): Statement {
  try {
    return { text: sql, params: fillPlaceholders(params, placeholderValues).map(encodeParameter) };
  } catch (error) {
    throw misuse(`A parameter cannot be sent: ${(error as Error).message}`);
  }
}

function decodeRows({ fields, rows }: StatementResult): unknown[][] {
  const decoders = fields.map(({ dataTypeID }) => decoderFor(dataTypeID));
  return rows.map((row) => row.map((text, i) => (text === null ? null : decoders[i]?.(text))));
}

function toQueryResult(result: StatementResult): QueryResult {
  const { command, rowCount } = result;
  const fields = result.fields.map(({ name, dataTypeID }) => ({ name, dataTypeID }));
  const rows = decodeRows(result).map((row) => Object.fromEntries(row.map((value, i) => [fields[i]?.name, value])));
  return { command, rowCount, fields, rows };
}
