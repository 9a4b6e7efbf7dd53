import { parseErrorResponse, RequestError, type StatementError } from './gateway-errors.ts';
import type { Sink } from './gateway-session.ts';
import { jsonOf, type WriteValue } from './json-values.ts';
import { createJsonWriter } from './json-writer.ts';
import { encodeFlight } from './postgres-flight.ts';

export interface ResultsOptions {
  rawText: boolean;
  /** For each described statement, whether its rows are arrays. */
  arrayModes: readonly boolean[];
  /** As `{results: […]}`. */
  batch: boolean;
  /** Bytes of JSON. */
  maxBytes: number;
}

export interface Results extends Sink {
  /** What the database said about the first failed statement. */
  error(): StatementError | undefined;
  /** Whether a transaction was committed. */
  committed(): boolean;
  /** The answer's body. */
  body(): Buffer[];
}

interface Column {
  /** What goes in front of its value in a row. */
  key: string;
  write: WriteValue;
}

/** Turns what the server answers into a response body, as it arrives. */
export function createResults({ rawText, arrayModes, batch, maxBytes }: ResultsOptions): Results {
  // A value may become six times as long as it was: this must not go unnoticed until the end of its row.
  const limit = (size: number) => {
    if (size > maxBytes) throw tooLarge(maxBytes);
  };
  const writer = createJsonWriter(limit);
  let failure: StatementError | undefined;
  let committed = false;
  /** Described statements so far; the columns of the current one. */
  let statements = 0;
  let columns: Column[] | undefined;
  let asArrays = false;
  let rows = 0;
  const ownArrays = new Set<number>();
  if (batch) writer.text('{"results":[');

  const beginStatement = (fields: Field[]) => {
    asArrays = arrayModes[statements] ?? false;
    columns = fields.map(({ name, dataTypeID }, i) => ({
      key: `${i > 0 ? ',' : ''}${asArrays ? '' : `${JSON.stringify(name)}:`}`,
      write: jsonOf(dataTypeID, rawText, ownArrays.has(dataTypeID)),
    }));
    rows = 0;
    const separator = statements++ > 0 ? ',' : '';
    writer.text(`${separator}{"rowAsArray":${asArrays},"fields":${JSON.stringify(fields)},"rows":[`);
  };

  const writeRow = (row: Buffer) => {
    writer.text(`${rows++ > 0 ? ',' : ''}${asArrays ? '[' : '{'}`);
    let at = 7;
    for (const { key, write } of columns ?? []) {
      if (key) writer.text(key);
      const length = row.readInt32BE(at);
      at += 4;
      if (length < 0) {
        writer.text('null');
      } else {
        write(writer, row.subarray(at, at + length));
        at += length;
      }
    }
    writer.text(asArrays ? ']' : '}');
    limit(writer.size());
  };

  const endStatement = (tag: string) => {
    if (tag === 'COMMIT') committed = true;
    if (!columns) return;
    columns = undefined;
    const { command, rowCount } = parseTag(tag);
    writer.text(`],"command":${JSON.stringify(command)},"rowCount":${rowCount}}`);
  };

  return {
    maxBytes,
    receive(type, message) {
      switch (type) {
        case 'T':
          return beginStatement(parseFields(message));
        case 'n': // NoData
          return beginStatement([]);
        case 'D':
          if (columns) writeRow(message);
          else ownArrays.add(Number(message.toString('latin1', 11))); // only FIND_OWN_ARRAYS has rows that are not described
          return undefined;
        case 'C':
          return endStatement(message.toString('utf8', 5, message.length - 1));
        case 'I': // EmptyQueryResponse
          return endStatement('');
        case 'E':
          failure ??= parseErrorResponse(message);
          return undefined;
        case 'G': // it would swallow the Sync that follows
          throw new RequestError(400, 'COPY FROM STDIN is not supported');
        case 'H':
          throw new RequestError(400, 'COPY TO STDOUT is not supported');
        case 'tooLong':
          throw tooLarge(maxBytes);
        default:
          return undefined;
      }
    },
    error: () => failure,
    committed: () => committed,
    body() {
      if (batch) writer.text(']}');
      return writer.blocks();
    },
  };
}

function tooLarge(maxBytes: number): RequestError {
  return new RequestError(507, `response is too large (max is ${maxBytes} bytes)`);
}

/**
 * Goes in front of statements whose answers are not to be raw text, with a Sync of its own: Neon's proxy also asks the server
 * about types that are not built into PostgreSQL, whose OIDs begin at `FirstNormalObjectId` (src/include/access/transam.h in
 * its source). So arrays of enums and the like become arrays.
 */
export const FIND_OWN_ARRAYS = encodeFlight([
  { query: 'SELECT oid FROM pg_catalog.pg_type WHERE oid >= 16384 AND typelem <> 0', params: [], describe: false },
]);

/** A column as Neon's proxy describes it. */
interface Field {
  name: string;
  dataTypeID: number;
  tableID: number;
  columnID: number;
  dataTypeSize: number;
  dataTypeModifier: number;
  format: 'text';
}

function parseFields(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 7;
  for (let count = message.readInt16BE(5); count > 0; count--) {
    const end = message.indexOf(0, at);
    fields.push({
      name: message.toString('utf8', at, end),
      dataTypeID: message.readUInt32BE(end + 7),
      tableID: message.readUInt32BE(end + 1),
      columnID: message.readInt16BE(end + 5),
      dataTypeSize: message.readInt16BE(end + 11),
      dataTypeModifier: message.readInt32BE(end + 13),
      format: 'text',
    });
    at = end + 19;
  }
  return fields;
}

/** `INSERT 0 1`, `SELECT 3`, `CREATE TABLE`: the first word, and the number at the end if there is one. */
function parseTag(tag: string): { command: string; rowCount: number | null } {
  const [command = '', ...rest] = tag.split(' ');
  const count = Number(rest.at(-1));
  return { command, rowCount: Number.isInteger(count) ? count : null };
}
