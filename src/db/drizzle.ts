import type { BatchItem } from 'drizzle-orm/batch';
import { entityKind } from 'drizzle-orm/entity';
import {
  type PgDialect,
  PgPreparedQuery,
  type PgQueryResultHKT,
  PgSession,
  type PreparedQueryConfig,
  type SelectedFieldsOrdered,
} from 'drizzle-orm/pg-core';
import type { TablesRelationalConfig } from 'drizzle-orm/relations';
import { fillPlaceholders, type Query, type SQL } from 'drizzle-orm/sql';
import * as drizzleUtils from 'drizzle-orm/utils';
import { DatabaseError } from './error.ts';
import type { Statement, StatementResult } from './transport.ts';
import { decoderFor, encodeParameter } from './values.ts';

/** What `execute` resolves to, whatever the transport. */
export interface QueryResult<Row = Record<string, unknown>> {
  rows: Row[];
  /** Rows returned or affected; null for statements that have no count. */
  rowCount: number | null;
  command: string;
  fields: { name: string; dataTypeID: number }[];
}

export interface QueryResultHKT extends PgQueryResultHKT {
  type: QueryResult<this['row']>;
}

/** Sends statements wherever the database or transaction at hand sends them. */
export type Run = (statements: readonly Statement[]) => Promise<StatementResult[]>;

type Begin = PgSession<QueryResultHKT, Record<string, unknown>, TablesRelationalConfig>['transaction'];

/** drizzle's mapper from a row to what was selected. Exported, but missing from its types. */
const { mapResultRow } = drizzleUtils as unknown as {
  mapResultRow: (fields: SelectedFieldsOrdered, row: unknown[], joins: Record<string, boolean> | undefined) => unknown;
};

type ResultMapper = (rows: unknown[][]) => unknown;

/** drizzle's session over a `Run`: it knows neither transports nor connections. */
export class Session extends PgSession<QueryResultHKT, Record<string, unknown>, TablesRelationalConfig> {
  static override readonly [entityKind] = 'EdgeSession';
  readonly #run: Run;
  /** Called by drizzle's migrator. */
  override readonly transaction: Begin;

  constructor(dialect: PgDialect, run: Run, begin: Begin) {
    super(dialect);
    this.#run = run;
    this.transaction = begin;
  }

  override prepareQuery<T extends PreparedQueryConfig>(
    query: Query,
    fields: SelectedFieldsOrdered | undefined,
    _name: string | undefined,
    _isResponseInArrayMode: boolean,
    customResultMapper?: ResultMapper,
  ): PreparedQuery<T> {
    return new PreparedQuery<T>(this.#run, query, fields, customResultMapper);
  }

  override async count(query: SQL): Promise<number> {
    const { rows } = await this.execute<QueryResult>(query);
    return Number(rows[0]?.['count']);
  }
}

/** Runs drizzle queries through one call of `run` and maps each result as its query would. */
export async function runQueries(run: Run, queries: readonly BatchItem<'pg'>[]): Promise<unknown[]> {
  // `_prepare` is what drizzle's own batches call; its types keep it to themselves.
  const prepared = queries.map((query) => (query as unknown as { _prepare(): PgPreparedQuery<never> })._prepare());
  const results = await run(prepared.map((query) => toStatement(query.getQuery())));
  return prepared.map((query, i) => query.mapResult(results[i], true));
}

class PreparedQuery<T extends PreparedQueryConfig> extends PgPreparedQuery<T> {
  static override readonly [entityKind] = 'EdgePreparedQuery';
  readonly #run: Run;
  readonly #fields: SelectedFieldsOrdered | undefined;
  readonly #customResultMapper: ResultMapper | undefined;
  /** Set by drizzle's select on what it prepares. */
  declare joinsNotNullableMap?: Record<string, boolean>;

  constructor(run: Run, query: Query, fields: SelectedFieldsOrdered | undefined, mapper: ResultMapper | undefined) {
    super(query, undefined, undefined);
    this.#run = run;
    this.#fields = fields;
    this.#customResultMapper = mapper;
  }

  override async execute(placeholderValues?: Record<string, unknown>): Promise<T['execute']> {
    const [result] = await this.#run([toStatement(this.query, placeholderValues)]);
    return this.mapResult(result);
  }

  async all(placeholderValues?: Record<string, unknown>): Promise<T['all']> {
    const [result] = await this.#run([toStatement(this.query, placeholderValues)]);
    return result && toQueryResult(result).rows;
  }

  override mapResult(response: unknown): unknown {
    const result = response as StatementResult;
    if (this.#customResultMapper) return this.#customResultMapper(decodeRows(result));
    const fields = this.#fields;
    if (fields) return decodeRows(result).map((row) => mapResultRow(fields, row, this.joinsNotNullableMap));
    return toQueryResult(result);
  }
}

function toStatement({ sql, params }: Query, placeholderValues: Record<string, unknown> = {}): Statement {
  try {
    return { text: sql, params: fillPlaceholders(params, placeholderValues).map(encodeParameter) };
  } catch (error) {
    throw new DatabaseError(`A parameter cannot be sent: ${(error as Error).message}`, { kind: 'query' });
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
