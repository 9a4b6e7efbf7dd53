import type { BatchItem } from 'drizzle-orm/batch';
import { PgPreparedQuery, type PreparedQueryConfig, type SelectedFieldsOrdered } from 'drizzle-orm/pg-core';
import { fillPlaceholders, type Query } from 'drizzle-orm/sql';
import * as drizzleUtils from 'drizzle-orm/utils';
import { misuse } from './error.ts';
import type { Scope } from './scope.ts';
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

/** Where a query maps all its rows by itself, as drizzle's relational ones do. */
export type RowsMapper = (rows: unknown[][]) => unknown;

type Joins = Record<string, boolean> | undefined;

/** drizzle's mapper from a row to what was selected. Exported, but missing from its types. */
const { mapResultRow } = drizzleUtils as unknown as {
  mapResultRow: (fields: SelectedFieldsOrdered, row: unknown[], joins: Joins) => unknown;
};

/** A drizzle query and where it runs. */
export class PreparedQuery<T extends PreparedQueryConfig> extends PgPreparedQuery<T> {
  readonly #run: Scope['run'];
  readonly #map: (result: StatementResult) => unknown;
  /** Set by drizzle's select on what it prepares. */
  declare joinsNotNullableMap: Joins;

  constructor(query: Query, run: Scope['run'], fields: SelectedFieldsOrdered | undefined, mapRows?: RowsMapper) {
    super(query, undefined, undefined);
    this.#run = run;
    this.#map = (result) => {
      if (mapRows) return mapRows(decodeRows(result));
      if (!fields) return toQueryResult(result);
      return decodeRows(result).map((row) => mapResultRow(fields, row, this.joinsNotNullableMap));
    };
  }

  override async execute(placeholderValues?: Record<string, unknown>): Promise<T['execute']> {
    return this.mapResult(await this.#run(toStatement(this.query, placeholderValues)));
  }

  async all(placeholderValues?: Record<string, unknown>): Promise<T['all']> {
    return toQueryResult(await this.#run(toStatement(this.query, placeholderValues))).rows;
  }

  override mapResult(result: unknown): unknown {
    return this.#map(result as StatementResult);
  }
}

/** Runs drizzle queries together and maps each result as its query would. */
export async function runQueries(
  run: (statements: Statement[]) => Promise<StatementResult[]>,
  queries: readonly BatchItem<'pg'>[],
): Promise<never> {
  // `_prepare` is what drizzle's own batches call; its types keep it to themselves.
  const prepared = queries.map((query) => (query as unknown as { _prepare(): PgPreparedQuery<never> })._prepare());
  const results = await run(prepared.map((query) => toStatement(query.getQuery())));
  return prepared.map((query, i) => query.mapResult(results[i], true)) as never;
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
