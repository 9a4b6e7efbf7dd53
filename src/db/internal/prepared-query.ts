import type { SelectedFieldsOrdered } from 'drizzle-orm/pg-core';
import { fillPlaceholders, type Query } from 'drizzle-orm/sql';
import { mapResultRow } from 'drizzle-orm/utils';
import { DatabaseError, misuse } from '../error.ts';
import type { Scope } from '../transaction.ts';
import type { Statement, StatementResult, TransactionOptions } from '../transport.ts';
import { decoderFor, encodeParameter } from './values.ts';

/** What `execute` resolves to, whatever the transport. */
export interface QueryResult<Row = Record<string, unknown>> extends Omit<StatementResult, 'rows'> {
  rows: Row[];
}

type Joins = Record<string, boolean> | undefined;
/** What drizzle's builders set on a prepared query. */
type Joined = { joinsNotNullableMap?: Joins };

declare module 'drizzle-orm/utils' {
  /** Maps a row to the selected fields. Exported, but missing from drizzle's types. */
  function mapResultRow(fields: SelectedFieldsOrdered, row: unknown[], joins: Joins): unknown;
}

declare global {
  /** V8's own, which is missing from the types of Workers. */
  interface ErrorConstructor {
    captureStackTrace(error: Error): void;
  }
}

export type PreparedQuery = ReturnType<typeof prepareQuery>;

/** The part of a `PgPreparedQuery` that drizzle's builders use. Parameters after `scope`: those of drizzle's `prepareQuery`. */
export function prepareQuery(
  scope: Scope,
  query: Query,
  selected?: SelectedFieldsOrdered,
  _name?: string,
  _isResponseInArrayMode?: boolean,
  mapRows?: (rows: unknown[][]) => unknown,
) {
  const prepared = {
    setToken: () => prepared, // the builders call it; only neon-http has tokens
    getQuery: () => query,
    mapResult(result: StatementResult, _isFromBatch?: boolean): unknown {
      const decoders = result.fields.map(({ dataTypeID }) => decoderFor(dataTypeID));
      const rows = result.rows.map((row) => row.map((text, i) => text && decoders[i]?.(text)));
      if (mapRows) return mapRows(rows);
      if (selected) return rows.map((row) => mapResultRow(selected, row, (prepared as Joined).joinsNotNullableMap));
      const { command, rowCount } = result;
      const fields = result.fields.map(({ name, dataTypeID }) => ({ name, dataTypeID })); // the rest varies by driver
      return {
        command,
        rowCount,
        fields,
        rows: rows.map((row) => Object.fromEntries(row.map((value, i) => [fields[i]?.name, value]))),
      } satisfies QueryResult;
    },
    execute: async (placeholderValues?: Record<string, unknown>): Promise<unknown> =>
      (await runQueries(scope, [prepared], undefined, placeholderValues))[0],
  };
  return prepared;
}

/** @throws {DatabaseError} whose stack leads to the calling code: none of the ten lines captured where it arose does */
export async function runQueries(
  scope: Scope,
  queries: PreparedQuery[],
  options?: TransactionOptions,
  placeholderValues?: Record<string, unknown>,
): Promise<unknown[]> {
  try {
    const sent = scope.send(
      queries.map((query) => toStatement(query.getQuery(), placeholderValues)),
      options,
    );
    // True, as from a batch: otherwise the builder of `execute` would return the result undecoded.
    return (await sent).map((result, i) => queries[i]?.mapResult(result, true));
  } catch (error) {
    await Promise.resolve(); // for what was thrown at once: only then does V8 know who awaits this
    if (error instanceof DatabaseError) Error.captureStackTrace(error); // not what a listener threw
    throw error;
  }
}

export function toStatement({ sql, params }: Query, placeholderValues: Record<string, unknown> = {}): Statement {
  if (params.length > 65_535) throw misuse('More than 65535 parameters.'); // the protocol counts them in 16 bits
  if (sql.includes('\0')) throw misuse('A statement has NUL.'); // it ends the text over sockets
  try {
    return {
      text: encodeParameter(sql) as string, // a lone surrogate becomes U+FFFD, as in a parameter
      params: fillPlaceholders(params, placeholderValues).map(encodeParameter),
    };
  } catch (error) {
    throw misuse(`A parameter is refused: ${(error as Error).message}`);
  }
}
