import { parseErrorResponse, RequestError, type StatementError } from './gateway-errors.ts';
import type { Sink } from './gateway-session.ts';
import { jsonOf, type WriteValue } from './json-values.ts';
import { createJsonWriter } from './json-writer.ts';

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
  /** What the database said of the first statement that failed. */
  error(): StatementError | undefined;
  /** Whether a transaction was committed. */
  committed(): boolean;
  /** The answer's body. */
  body(): Buffer[];
}

interface Column {
  /** In front of its value, in a row that is an object. */
  key: string;
  write: WriteValue;
}

/** Turns what the server answers into the body of an answer, as it comes. */
export function createResults({ rawText, arrayModes, batch, maxBytes }: ResultsOptions): Results {
  // A value may become six times as long: that is not to be found out behind its row.
  const limit = (size: number) => {
    if (size > maxBytes) throw tooLarge(maxBytes);
  };
  const writer = createJsonWriter(limit);
  let failure: StatementError | undefined;
  let committed = false;
  /** Described statements so far; the columns of the one that runs. */
  let statements = 0;
  let columns: Column[] | undefined;
  let asArrays = false;
  let rows = 0;
  if (batch) writer.text('{"results":[');

  const beginStatement = (fields: Field[]) => {
    asArrays = arrayModes[statements] ?? false;
    columns = fields.map(({ name, dataTypeID }, i) => ({
      key: `${i > 0 ? ',' : ''}${asArrays ? '' : `${JSON.stringify(name)}:`}`,
      write: jsonOf(dataTypeID, rawText),
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
          return writeRow(message);
        case 'C':
          return endStatement(message.toString('utf8', 5, message.length - 1));
        case 'I': // EmptyQueryResponse
          return endStatement('');
        case 'E':
          failure ??= parseErrorResponse(message);
          return undefined;
        case 'G': // it would swallow the Sync behind it
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

/** Neon's proxy knows the types that PostgreSQL brings along; of an enum or an extension's it says `unknown`. */
const UNKNOWN = 705;

/** `FirstNormalObjectId` in src/include/access/transam.h of PostgreSQL's source. */
const FIRST_OWN_OID = 16_384;

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
    const dataTypeID = message.readUInt32BE(end + 7);
    fields.push({
      name: message.toString('utf8', at, end),
      dataTypeID: dataTypeID < FIRST_OWN_OID ? dataTypeID : UNKNOWN,
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
