import type { JsonWriter } from './json-writer.ts';

/** Writes a value, which PostgreSQL sends as text, as JSON. */
export type WriteValue = (writer: JsonWriter, text: Buffer) => void;

// Type OIDs: https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
const BOOL = 16;
const INT2 = 21;
const INT4 = 23;
const JSON_TYPE = 114;
const FLOAT4 = 700;
const FLOAT8 = 701;
const JSONB = 3802;

/** Array types whose elements become JSON values of their own kind, and the elements' types. */
const TYPED_ARRAYS = new Map([
  [199, JSON_TYPE],
  [1000, BOOL],
  [1005, INT2],
  [1007, INT4],
  [1021, FLOAT4],
  [1022, FLOAT8],
  [3807, JSONB],
]);

/** PostgreSQL's other array types that the proxy knows: not `record[]`, but `box[]`, though it separates by semicolons. */
const TEXT_ARRAYS = new Set([
  143, 271, 629, 651, 719, 775, 791, 1001, 1002, 1003, 1006, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017,
  1018, 1019, 1020, 1027, 1028, 1034, 1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231, 1263, 1270, 1561, 1563, 2201,
  2207, 2208, 2209, 2210, 2211, 2949, 2951, 3221, 3643, 3644, 3645, 3735, 3770, 3905, 3907, 3909, 3911, 3913, 3927,
  4073, 4090, 4097, 4192, 5039, 6150, 6151, 6152, 6153, 6155, 6157,
]);

const asString: WriteValue = (writer, text) => writer.string(text);
const asIs: WriteValue = (writer, text) => writer.raw(text);

/**
 * As Neon's proxy does (`proxy/src/serverless/json.rs`): what JSON has no exact value for stays a string.
 * @param isArray for a type that is not built into PostgreSQL
 */
export function jsonOf(type: number, rawText: boolean, isArray: boolean): WriteValue {
  if (rawText) return asString;
  if (type === INT2 || type === INT4 || type === JSON_TYPE || type === JSONB) return asIs;
  if (type === BOOL) return (writer, text) => writer.text(text[0] === 't'.charCodeAt(0) ? 'true' : 'false');
  if (type === FLOAT4 || type === FLOAT8) return (writer, text) => writer.text(jsonElement(type, text.toString()));
  const element = TYPED_ARRAYS.get(type) ?? (isArray || TEXT_ARRAYS.has(type) ? 0 : undefined);
  if (element === undefined) return asString;
  return (writer, text) => writeArray(writer, text.toString(), (item) => jsonElement(element, item));
}

function jsonElement(type: number, text: string): string {
  switch (type) {
    case BOOL:
      return text === 't' ? 'true' : 'false';
    case INT2:
    case INT4:
    case JSON_TYPE:
    case JSONB:
      return text;
    case FLOAT4:
    case FLOAT8:
      return Number.isFinite(Number(text)) ? text : JSON.stringify(text);
    default:
      return JSON.stringify(text);
  }
}

/**
 * A quoted element, up to a quotation mark after an even number of backslashes; NULL, another element, or what separates
 * elements. Bounds and an equals sign may come first.
 */
const ARRAY_TOKEN = /"(.*?)"(?<=[^\\](?:\\\\)*")|([{},])|([^{},]+)/gs;

/** https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
function writeArray(writer: JsonWriter, literal: string, element: (text: string) => string): void {
  for (const [, quoted, mark, bare] of literal.slice(literal.indexOf('{')).matchAll(ARRAY_TOKEN)) {
    if (mark) writer.text(mark === '{' ? '[' : mark === '}' ? ']' : ',');
    else if (quoted !== undefined) writer.text(element(quoted.replace(/\\(.)/gs, '$1')));
    else if (bare !== undefined) writer.text(bare === 'NULL' ? 'null' : element(bare));
  }
}

/** A parameter of a request as the text that PostgreSQL reads. */
export function parameterText(value: unknown): string | null {
  if (value === null) return null;
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? arrayLiteral(value) : JSON.stringify(value);
}

/** PostgreSQL reads JSON's escapes: `\"` and `\\` as intended, but a line break, `\n`, as an n. Neon's proxy does no better. */
function arrayLiteral(values: unknown[]): string {
  const elements = values.map((value) => {
    if (Array.isArray(value)) return arrayLiteral(value);
    if (value === null) return 'NULL';
    const json = JSON.stringify(value);
    return typeof value === 'object' && !JSON.isRawJSON(value) ? JSON.stringify(json) : json;
  });
  return `{${elements.join(',')}}`;
}
