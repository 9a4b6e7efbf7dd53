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

type Run = (statement: Statement) => Promise<StatementResult>;
type Base = PgSession<QueryResultHKT, Record<string, unknown>, TablesRelationalConfig>;
type ResultMapper = (rows: unknown[][]) => unknown;

/** drizzle's mapper from a row to what was selected. Exported, but missing from its types. */
const { mapResultRow } = drizzleUtils as unknown as {
  mapResultRow: (fields: SelectedFieldsOrdered, row: unknown[], joins: Record<string, boolean> | undefined) => unknown;
};

/** drizzle's session over a function that runs statements: it knows neither transports nor connections. */
export class Session extends PgSession<QueryResultHKT, Record<string, unknown>, TablesRelationalConfig> {
  static override readonly [entityKind] = 'EdgeSession';
  readonly run: Run;
  /** Called by drizzle's migrator. */
  override readonly transaction: Base['transaction'];

  constructor(dialect: PgDialect, run: Run, transaction: Base['transaction']) {
    super(dialect);
    this.run = run;
    this.transaction = transaction;
  }

  override prepareQuery<T extends PreparedQueryConfig>(
    query: Query,
    fields: SelectedFieldsOrdered | undefined,
    _name: string | undefined,
    _isResponseInArrayMode: boolean,
    mapper?: ResultMapper,
  ): PreparedQuery<T> {
    return new PreparedQuery<T>(this.run, query, fields, mapper);
  }

  override async count(query: SQL): Promise<number> {
    const { rows } = await this.execute<QueryResult>(query);
    return Number(rows[0]?.['count']);
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

class PreparedQuery<T extends PreparedQueryConfig> extends PgPreparedQuery<T> {
  static override readonly [entityKind] = 'EdgePreparedQuery';
  readonly #run: Run;
  readonly #fields: SelectedFieldsOrdered | undefined;
  readonly #mapper: ResultMapper | undefined;
  /** Set by drizzle's select on what it prepares. */
  declare joinsNotNullableMap?: Record<string, boolean>;

  constructor(run: Run, query: Query, fields: SelectedFieldsOrdered | undefined, mapper: ResultMapper | undefined) {
    super(query, undefined, undefined);
    this.#run = run;
    this.#fields = fields;
    this.#mapper = mapper;
  }

  override async execute(placeholderValues?: Record<string, unknown>): Promise<T['execute']> {
    return this.mapResult(await this.#run(toStatement(this.query, placeholderValues)));
  }

  async all(placeholderValues?: Record<string, unknown>): Promise<T['all']> {
    return toQueryResult(await this.#run(toStatement(this.query, placeholderValues))).rows;
  }

  override mapResult(response: unknown): unknown {
    const result = response as StatementResult;
    const fields = this.#fields;
    if (this.#mapper) return this.#mapper(decodeRows(result));
    if (!fields) return toQueryResult(result);
    return decodeRows(result).map((row) => mapResultRow(fields, row, this.joinsNotNullableMap));
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
