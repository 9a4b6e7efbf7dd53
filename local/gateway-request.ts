import { constants, isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { RequestError } from './gateway-errors.ts';

/** The parts of it that count: the gateway decides where it leads. */
export interface ConnectionString {
  user: string;
  password: string;
  database: string;
  port: number;
}

/** One entry of a request's body. */
export interface Query {
  query: string;
  params: unknown[];
  arrayMode: boolean | undefined;
}

/** Options of a batch's transaction, as headers and as SQL. */
export interface BatchOptions {
  headers: Record<string, string>;
  modes: string[];
}

/** Successive requests bring the same one: parsing it each time would measurably cost requests per second. */
let lastRead: { text: string; parts: ConnectionString } | undefined;

/** @throws {RequestError} in the words of Neon's proxy; never with the connection string, which holds the password */
export function readConnectionString(headers: IncomingHttpHeaders): ConnectionString {
  const { authorization } = headers;
  const connectionString = headers['neon-connection-string'];
  if (typeof connectionString !== 'string') throw new RequestError(400, 'invalid header: neon-connection-string');
  if (connectionString === lastRead?.text && authorization === undefined) return lastRead.parts;
  if (!URL.canParse(connectionString)) throw new RequestError(400, 'invalid connection string: it is not a valid URL');
  const url = new URL(connectionString);
  if (!/^postgres(ql)?:$/.test(url.protocol)) throw new RequestError(400, 'incorrect scheme');
  const database = decode(url.pathname.slice(1).split('/', 1)[0] ?? '', 'database name');
  const user = decode(url.username, 'username');
  const password = decode(url.password, 'password');
  if (database === '') throw new RequestError(400, 'missing database name');
  if (user === '') throw new RequestError(400, 'missing username');
  // Tokens belong to another of Neon's endpoints, and so does checking them.
  if (password === '' || authorization !== undefined) {
    throw new RequestError(400, 'missing authentication credentials: required password');
  }
  const parts = { user, password, database, port: Number(url.port || 5432) };
  lastRead = { text: connectionString, parts };
  return parts;
}

function decode(text: string, part: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text.replace(/%(?![\da-f]{2})/gi, '%25')); // a % that begins no byte stands for itself
  } catch {
    throw new RequestError(400, `invalid ${part}: it is not percent-encoded UTF-8`);
  }
  // In the start-up message, whatever follows a null byte would be taken for parameters.
  if (decoded.includes('\0')) throw new RequestError(400, `invalid ${part}: it contains a null byte`);
  return decoded;
}

/** @throws {RequestError} 413 when it is longer than `limit`, in bytes, or than a string can be; 400 when it is not UTF-8 */
export function readBody(request: IncomingMessage, limit: number): Promise<string> {
  const maxBytes = Math.min(limit, constants.MAX_STRING_LENGTH);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else chunks.length = 0;
    });
    // Read to its end even when it is too large: a client that is still sending does not read the answer.
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      if (length > maxBytes) reject(new RequestError(413, `request is too large (max is ${maxBytes} bytes)`));
      else if (isUtf8(body)) resolve(body.toString());
      else reject(new RequestError(400, 'could not parse the HTTP request body: it is not UTF-8'));
    });
    request.on('error', () => reject(new RequestError(400, 'could not read the HTTP request body')));
  });
}

/** @throws {RequestError} */
export function parseBody(text: string): Query | Query[] {
  let body: unknown;
  try {
    const isInexact = [LARGE_NUMBER, WHOLE_FLOAT, SURROGATE].some((pattern) => pattern.test(text));
    body = isInexact ? parseExactly(text) : JSON.parse(text);
  } catch (error) {
    const reason = error instanceof RangeError ? 'a number is out of range, or it nests too deeply' : 'it is not JSON';
    throw new RequestError(400, `could not parse the HTTP request body: ${reason}`);
  }
  const query = asQuery(body);
  if (query) return query;
  if (isObject(body) && Array.isArray(body['queries'])) {
    const queries = body['queries'].map(asQuery);
    if (queries.every((one) => one !== undefined)) return queries;
  }
  throw new RequestError(400, 'could not parse the HTTP request body: expected {query, params} or {queries: […]}');
}

/**
 * A number that JavaScript may have no exact value for: not every whole number beyond 2 ** 53 has one, and 1e309 is taken for
 * infinite. Nearly never matches digits in a string: exact parsing takes ten times as long as `JSON.parse` alone.
 */
const LARGE_NUMBER = /[[,:\s]-?(?:\d{16}|[\d.]+[eE]\+?\d{3})/;

/** Such as 1.0, which JavaScript takes for an integer, unlike Neon's proxy and PostgreSQL; Python writes floats this way. */
const WHOLE_FLOAT = /[[,:\s]-?\d+(?:\.0+|(?:\.\d+)?[eE]\+?\d+)\s*[,\]}]/;

/** Half of a surrogate pair, as an escape: what `JSON.stringify` writes where the other half is missing. */
const SURROGATE = /\\u[dD][89a-fA-F]/;

/**
 * Parses JSON so that 64-bit integers are written again exactly as they were read, and whole floats as floats: Neon's proxy has
 * separate values for those.
 * @throws {RangeError} for a number that is too large, as that proxy does
 * @throws {SyntaxError} for half of a surrogate pair, as that proxy does: UTF-8 has no way to write one
 */
function parseExactly(text: string): unknown {
  return JSON.parse(text, (key, value, { source = '' }) => {
    if (!key.isWellFormed() || (typeof value === 'string' && !value.isWellFormed())) throw new SyntaxError();
    if (typeof value !== 'number') return value;
    if (!Number.isFinite(value)) throw new RangeError();
    if (Number.isSafeInteger(value)) return /[.eE]/.test(source) ? JSON.rawJSON(`${value}.0`) : value;
    return /^-?\d+$/.test(source) && isInt64(BigInt(source)) ? JSON.rawJSON(source) : value;
  });
}

/** Signed or unsigned. */
function isInt64(value: bigint): boolean {
  return value === BigInt.asIntN(64, value) || value === BigInt.asUintN(64, value);
}

declare global {
  /** https://github.com/tc39/proposal-json-parse-with-source, which the library of ES2024 does not declare. */
  interface JSON {
    parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
    rawJSON(json: string): unknown;
    isRawJSON(value: unknown): boolean;
  }
}

function asQuery(value: unknown): Query | undefined {
  if (!isObject(value)) return undefined;
  const { query, params = [], arrayMode = null } = value;
  if (typeof query !== 'string' || !Array.isArray(params)) return undefined;
  if (arrayMode !== null && typeof arrayMode !== 'boolean') return undefined;
  return { query, params, arrayMode: arrayMode ?? undefined };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

const ISOLATION_LEVELS = new Map([
  ['ReadUncommitted', 'READ UNCOMMITTED'],
  ['ReadCommitted', 'READ COMMITTED'],
  ['RepeatableRead', 'REPEATABLE READ'],
  ['Serializable', 'SERIALIZABLE'],
]);

/**
 * The options of a batch. A flag counts only if it is exactly `true`; what counts is echoed in the answer's headers.
 * @throws {RequestError} for an isolation level that does not exist, even if there is no batch
 */
export function readBatchOptions(requestHeaders: IncomingHttpHeaders): BatchOptions {
  const headers: Record<string, string> = {};
  const modes: string[] = [];
  const isolation = requestHeaders['neon-batch-isolation-level'];
  if (isolation !== undefined) {
    const level = ISOLATION_LEVELS.get(String(isolation));
    if (level === undefined) throw new RequestError(400, 'invalid isolation level');
    modes.push(`ISOLATION LEVEL ${level}`);
    headers['neon-batch-isolation-level'] = String(isolation);
  }
  if (requestHeaders['neon-batch-read-only'] === 'true') {
    modes.push('READ ONLY');
    headers['neon-batch-read-only'] = 'true';
  }
  if (requestHeaders['neon-batch-deferrable'] === 'true') {
    modes.push('DEFERRABLE');
    headers['neon-batch-deferrable'] = 'true';
  }
  return { headers, modes };
}
