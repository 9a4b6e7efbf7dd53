import type { SelectedFieldsOrdered } from 'drizzle-orm/pg-core';
import { fillPlaceholders, type Query } from 'drizzle-orm/sql';
import { mapResultRow } from 'drizzle-orm/utils';
import { misuse } from '../error.ts';
import type { Scope } from '../transaction.ts';
import type { Statement, StatementResult } from '../transport.ts';
import { decoderFor, encodeParameter } from './values.ts';

/** What `execute` resolves to, whatever the transport. */
export interface QueryResult<Row = Record<string, unknown>> extends Omit<StatementResult, 'rows'> {
  rows: Row[];
}

type Joins = Record<string, boolean> | undefined;
/** What drizzle's builders set on a prepared query. */
type Joined = { joinsNotNullableMap?: Joins };

declare module 'drizzle-orm/utils' {
  /** From a row to what was selected. Exported, but missing from drizzle's types. */
  function mapResultRow(fields: SelectedFieldsOrdered, row: unknown[], joins: Joins): unknown;
}

export type PreparedQuery = ReturnType<typeof prepareQuery>;

/** What drizzle's builders use of a `PgPreparedQuery`. After the scope, the parameters are those of its `prepareQuery`. */
export function prepareQuery(
  scope: Scope,
  query: Query,
  selected?: SelectedFieldsOrdered,
  _name?: string,
  _isResponseInArrayMode?: boolean,
  mapRows?: (rows: unknown[][]) => unknown,
) {
  const prepared = {
    setToken: () => prepared, // the builders call it; tokens are for neon-http alone
    getQuery: () => query,
    mapResult(result: StatementResult, _isFromBatch?: boolean): unknown {
      const decoders = result.fields.map(({ dataTypeID }) => decoderFor(dataTypeID));
      const rows = result.rows.map((row) => row.map((text, i) => text && decoders[i]?.(text)));
      if (mapRows) return mapRows(rows);
      if (selected) return rows.map((row) => mapResultRow(selected, row, (prepared as Joined).joinsNotNullableMap));
      const { command, rowCount } = result;
      const fields = result.fields.map(({ name, dataTypeID }) => ({ name, dataTypeID })); // the drivers' differ in the rest
      return {
        command,
        rowCount,
        fields,
        rows: rows.map((row) => Object.fromEntries(row.map((value, i) => [fields[i]?.name, value]))),
      } satisfies QueryResult;
    },
    async execute(placeholderValues?: Record<string, unknown>): Promise<unknown> {
      const [result] = await scope.send([toStatement(query, placeholderValues)]);
      return prepared.mapResult(result as StatementResult);
    },
  };
  return prepared;
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
