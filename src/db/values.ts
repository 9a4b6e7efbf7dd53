/**
 * JavaScript values to and from PostgreSQL's text format, one way for every transport: the drivers have tables of their
 * own, which differ in detail, depend on the process's time zone and can be changed for the whole process by anyone.
 */

/** Object identifiers of PostgreSQL's built-in types: src/include/catalog/pg_type.dat in its source. */
const OID = {
  bool: 16,
  bytea: 17,
  int2: 21,
  int4: 23,
  oid: 26,
  json: 114,
  float4: 700,
  float8: 701,
  jsonb: 3802,
} as const;

type Decoder = (text: string) => unknown;

const DECODERS: Record<number, Decoder> = {
  [OID.bool]: (text) => text === 't',
  [OID.bytea]: decodeBytea,
  [OID.int2]: Number,
  [OID.int4]: Number,
  [OID.oid]: Number,
  [OID.float4]: Number,
  [OID.float8]: Number,
  [OID.json]: (text) => JSON.parse(text) as unknown,
  [OID.jsonb]: (text) => JSON.parse(text) as unknown,
};

/** The element type of each built-in array type; an array whose elements stay text maps to 0. */
const ARRAY_ELEMENT: Record<number, number> = {
  1000: OID.bool,
  1001: OID.bytea,
  1005: OID.int2,
  1007: OID.int4,
  1028: OID.oid,
  1021: OID.float4,
  1022: OID.float8,
  199: OID.json,
  3807: OID.jsonb,
  1002: 0, // char
  1009: 0, // text
  1014: 0, // bpchar
  1015: 0, // varchar
  1016: 0, // int8
  1115: 0, // timestamp
  1182: 0, // date
  1183: 0, // time
  1185: 0, // timestamptz
  1187: 0, // interval
  1231: 0, // numeric
  1270: 0, // timetz
  2951: 0, // uuid
};

const asText: Decoder = (text) => text;

/**
 * The reader for a type's text: booleans, 16- and 32-bit integers, floats, JSON, bytea (`Uint8Array`) and arrays become
 * JavaScript values. Everything else stays text: 64-bit integers and numerics because a number would lose digits, dates
 * and times because a `Date` would lose microseconds and the zone (drizzle's columns read them from text).
 */
export function decoderFor(dataTypeID: number): Decoder {
  const element = ARRAY_ELEMENT[dataTypeID];
  if (element !== undefined) {
    const decodeElement = DECODERS[element] ?? asText;
    return (text) => decodeArray(text, decodeElement);
  }
  return DECODERS[dataTypeID] ?? asText;
}

/** bytea's hex format, the server's default since PostgreSQL 9.0. */
function decodeBytea(text: string): Uint8Array {
  const bytes = new Uint8Array((text.length - 2) / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 + 2 * i, 4 + 2 * i), 16);
  return bytes;
}

/** https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
function decodeArray(text: string, decodeElement: Decoder): unknown[] {
  let at = text.indexOf('{') + 1; // before it may stand dimensions, as in [0:2]={1,2,3}
  const readArray = (): unknown[] => {
    const items: unknown[] = [];
    while (text[at] !== '}') {
      if (text[at] === ',') at++;
      if (text[at] === '{') {
        at++;
        items.push(readArray());
      } else if (text[at] === '"') {
        items.push(decodeElement(readQuoted()));
      } else {
        const start = at;
        while (text[at] !== ',' && text[at] !== '}') at++;
        const bare = text.slice(start, at);
        items.push(bare === 'NULL' ? null : decodeElement(bare));
      }
    }
    at++;
    return items;
  };
  const readQuoted = (): string => {
    let value = '';
    for (at++; text[at] !== '"'; at++) {
      if (text[at] === '\\') at++;
      value += text[at];
    }
    at++;
    return value;
  };
  return readArray();
}

/**
 * A parameter in PostgreSQL's text format: arrays become array literals, bytes bytea, dates ISO 8601 in UTC, other objects
 * JSON. Runs before anything is sent, so a value that cannot be encoded leaves the connection as it was.
 * @throws {TypeError} for what has no text form: functions, symbols, circular objects
 */
export function encodeParameter(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'object':
      if (value instanceof Date) return value.toISOString();
      if (ArrayBuffer.isView(value)) return encodeBytea(value);
      if (Array.isArray(value)) return encodeArray(value);
      return JSON.stringify(value);
    default:
      throw new TypeError(`A ${typeof value} cannot be a query parameter`);
  }
}

function encodeBytea(view: ArrayBufferView): string {
  let hex = '\\x';
  for (const byte of new Uint8Array(view.buffer, view.byteOffset, view.byteLength)) {
    hex += byte.toString(16).padStart(2, '0');
  }
  return hex;
}

function encodeArray(items: readonly unknown[]): string {
  const encoded = items.map((item) => {
    if (Array.isArray(item)) return encodeArray(item);
    const text = encodeParameter(item);
    return text === null ? 'NULL' : `"${text.replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${encoded.join(',')}}`;
}
