import { misuse } from '../error.ts';

/**
 * JavaScript values to and from PostgreSQL's text format, in one way for every transport: the drivers have tables of their
 * own, which differ in detail, depend on the process's time zone and can be changed by anyone for the whole process.
 */

type Decoder = (text: string) => unknown;

/** Types that do not stay text, and their arrays: src/include/catalog/pg_type.dat in PostgreSQL's source. */
const TYPES: [oid: number, arrayOid: number, decode: Decoder][] = [
  [16, 1000, (text) => text === 't'], // bool
  [17, 1001, decodeBytea],
  [21, 1005, Number], // int2
  [23, 1007, Number], // int4
  [26, 1028, Number], // oid
  [114, 199, JSON.parse], // json
  [700, 1021, Number], // float4
  [701, 1022, Number], // float8
  [3802, 3807, JSON.parse], // jsonb
];

const DECODERS = new Map<number, Decoder>(
  // Arrays of types that stay text: cidr, money, char, text, bpchar, varchar, int8, point, macaddr, inet, timestamp, date,
  // time, timestamptz, interval, numeric, timetz, uuid, numrange.
  [651, 791, 1002, 1009, 1014, 1015, 1016, 1017, 1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231, 1270, 2951, 3907].map(
    (oid) => [oid, decodeArray],
  ),
);
for (const [oid, arrayOid, decode] of TYPES) {
  DECODERS.set(oid, decode).set(arrayOid, (text) => decodeArray(text, decode));
}

/**
 * The decoder for a type: booleans, 16- and 32-bit integers, floats, JSON, bytea (`Uint8Array`) and arrays become
 * JavaScript values. Everything else stays text: 64-bit integers and numerics because a number would lose digits, dates
 * and times because a `Date` would lose microseconds and the zone (drizzle's columns read them from text).
 */
export function decoderFor(dataTypeID: number): Decoder {
  return DECODERS.get(dataTypeID) ?? String;
}

/** bytea's hex format, the server's default since PostgreSQL 9.0. */
function decodeBytea(text: string): Uint8Array {
  if (!text.startsWith('\\x')) throw misuse('bytea_output must be hex.');
  const digit = (i: number) => (text.charCodeAt(i) % 39) - 9; // 0 to 9 are 48 to 57, a to f 97 to 102
  return new Uint8Array(text.length / 2 - 1).map((_, i) => 16 * digit(2 * i + 2) + digit(2 * i + 3));
}

/** Array literals (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO), read by way of JSON. */
function decodeArray(text: string, decode: Decoder = String): unknown[] {
  const braces = text.slice(text.indexOf('{')); // dimensions may precede it, as in [0:2]={1,2,3}
  // A quotation mark after an even number of backslashes ends an item.
  const json = braces.replace(/"(.*?)"(?<=[^\\](?:\\\\)*")|[^{},]+|[{}]/gs, (token, quoted?: string) => {
    if (token === '{') return '[';
    if (token === '}') return ']';
    if (token === 'NULL') return 'null';
    return JSON.stringify(quoted?.replace(/\\(.)/gs, '$1') ?? token);
  });
  const decodeItem = (item: unknown): unknown => {
    if (Array.isArray(item)) return item.map(decodeItem);
    return item && decode(item as string); // NULL has no text to decode; only text can be ''
  };
  return decodeItem(JSON.parse(json)) as unknown[];
}

/**
 * A parameter in PostgreSQL's text format: arrays become array literals, bytes bytea, dates ISO 8601 in UTC, other objects
 * JSON. Runs before anything is sent, so a value that cannot be encoded leaves the connection as it was.
 * @throws {Error} for what has no text form: functions, symbols, circular objects
 */
export function encodeParameter(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'function') throw new Error('it is a function');
  if (typeof value !== 'object') return `${value as string | number}`.toWellFormed(); // throws for a symbol
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value)) return encodeBytea(value);
  return Array.isArray(value) ? encodeArray(value) : JSON.stringify(value);
}

function encodeBytea({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const digits = new Uint8Array(2 * byteLength).map((_, i) =>
    '0123456789abcdef'.charCodeAt(((bytes[i >> 1] as number) >> (i % 2 ? 0 : 4)) & 15),
  );
  return `\\x${new TextDecoder().decode(digits)}`;
}

function encodeArray(items: readonly unknown[]): string {
  // An array's own `map` would skip holes.
  const encoded = Array.from(items, (item) => {
    if (Array.isArray(item)) return encodeArray(item);
    const text = encodeParameter(item);
    return text === null ? 'NULL' : `"${text.replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${encoded.join(',')}}`;
}
