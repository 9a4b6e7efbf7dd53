import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import pg from 'pg';
import type { GatewayStats } from './gateway.ts';
import { Refusal } from './gateway-login.ts';
import type { Upstream } from './gateway-upstream.ts';
import { IS_SUPERUSER, LOCAL_CLIENT, SUPERUSER_REFUSED } from './pg-client.ts';

/** The default in Neon's proxy (`proxy/src/config.rs`), in bytes. */
const MAX_REQUEST_BYTES = 10 * 1024 * 1024;

/** Connections to PostgreSQL for each user and database. */
const MAX_CONNECTIONS = 20;

const ISOLATION_LEVELS: Record<string, string> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
};

/** The error fields that Neon's proxy passes on, under its names. */
const ERROR_FIELDS = [
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'table',
  'column',
  'schema',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const;

interface Query {
  query: string;
  params: unknown[];
  arrayMode?: boolean;
}

interface QueryOptions {
  rawText: boolean;
  arrayMode: boolean;
}

/** A failure that is not the database's: a message and the status it is sent with. */
class RequestError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** `POST /sql`: one query or a batch as one transaction, over a pool of connections that are reset between uses. */
export function createSqlHandler(upstream: Upstream, stats: GatewayStats, roleOf: (user: string) => string) {
  const pools = new Map<string, pg.Pool>();
  const sockets = new Set<Socket>();

  const poolFor = (connectionString: string): pg.Pool => {
    const { user, password, database } = parse(connectionString);
    const key = JSON.stringify([user, password, database]);
    let pool = pools.get(key);
    if (!pool) {
      pool = new pg.Pool({
        ...LOCAL_CLIENT,
        ...upstream,
        user: roleOf(user),
        password,
        database,
        max: MAX_CONNECTIONS,
        verify: refuseSuperuser,
      });
      pool.on('error', () => {}); // an idle connection was lost: the next query opens another
      pool.on('connect', (client) => {
        const socket = prepare(client);
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
      });
      pools.set(key, pool);
    }
    return pool;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
    if (request.method !== 'POST' || request.url?.split('?')[0] !== '/sql')
      throw new RequestError(400, 'query is not supported');
    stats.requests++;
    const { headers } = request;
    const pool = poolFor(requiredHeader(headers, 'neon-connection-string'));
    const body = parseBody(await readBody(request));
    const options = {
      rawText: headers['neon-raw-text-output'] === 'true',
      arrayMode: headers['neon-array-mode'] === 'true',
    };
    const client = await pool.connect();
    try {
      if (!Array.isArray(body)) return await runQuery(client, body, options);
      stats.batches++;
      return { results: await runBatch(client, body, headers, response, options) };
    } finally {
      await reset(client);
    }
  };

  return {
    handle(request: IncomingMessage, response: ServerResponse): void {
      response.setHeader('access-control-allow-origin', '*');
      response.setHeader('neon-request-id', randomUUID());
      if (request.method === 'OPTIONS') {
        response.setHeader('access-control-allow-headers', '*').setHeader('access-control-allow-methods', 'POST').end();
        return;
      }
      answer(request, response).then(
        (result) => sendJson(response, 200, result),
        (error: unknown) => {
          const { status, body } = describe(error);
          sendJson(response, status, body);
        },
      );
    },

    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy(); // a query that still runs is not waited for
      await Promise.all([...pools.values()].map((pool) => pool.end()));
    },
  };
}

function parse(connectionString: string): { user: string; password: string; database: string } {
  if (URL.canParse(connectionString) && /^postgres(ql)?:/.test(connectionString)) {
    const url = new URL(connectionString);
    const [user, password, database] = [url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent);
    if (user && password && database) return { user, password, database };
  }
  throw new RequestError(400, 'invalid connection string');
}

function refuseSuperuser(client: pg.PoolClient, done: (error?: Error) => void): void {
  client
    .query(IS_SUPERUSER)
    .then(({ rowCount }) => done(rowCount === 0 ? undefined : new RequestError(400, SUPERUSER_REFUSED)), done);
}

/** @returns the client's socket */
function prepare(client: pg.PoolClient): Socket {
  client.on('error', () => {}); // the query that was running reports it
  const { connection } = client as unknown as { connection: { stream: Socket; on: Socket['on'] } };
  // COPY FROM STDIN swallows the Sync behind it: nothing sent on the connection afterwards would be answered.
  connection.on('copyInResponse', () => {
    connection.stream.destroy(new RequestError(400, 'COPY FROM STDIN is not supported'));
  });
  return connection.stream;
}

function requiredHeader(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new RequestError(400, `missing header ${name}`);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Read to its end even when it is too large: a client that is still sending does not read the answer.
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= MAX_REQUEST_BYTES) chunks.push(chunk);
  }
  if (length > MAX_REQUEST_BYTES) {
    throw new RequestError(413, `request is too large (max is ${MAX_REQUEST_BYTES} bytes)`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseBody(text: string): Query | Query[] {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new RequestError(400, 'could not parse the HTTP request body: it is not JSON');
  }
  if (isQuery(body)) return body;
  if (typeof body === 'object' && body !== null && 'queries' in body && Array.isArray(body.queries)) {
    if (body.queries.every(isQuery)) return body.queries;
  }
  throw new RequestError(400, 'could not parse the HTTP request body: expected {query, params} or {queries: […]}');
}

function isQuery(value: unknown): value is Query {
  return (
    typeof value === 'object' &&
    value !== null &&
    'query' in value &&
    typeof value.query === 'string' &&
    'params' in value &&
    Array.isArray(value.params)
  );
}

async function runQuery(client: pg.PoolClient, { query, params, arrayMode }: Query, options: QueryOptions) {
  const asArray = arrayMode ?? options.arrayMode;
  const { command, rowCount, fields, rows } = await client.query({
    text: query,
    values: params,
    rowMode: 'array',
    // The extended protocol even without parameters: one statement a query.
    queryMode: 'extended',
    types: { getTypeParser: () => (text: string) => text },
  } as pg.QueryArrayConfig);
  const values = options.rawText
    ? rows
    : rows.map((row) => row.map((text: string | null, i) => jsonValue(text, fields[i])));
  return {
    command,
    rowCount,
    rows: asArray ? values : values.map((row) => Object.fromEntries(row.map((value, i) => [fields[i]?.name, value]))),
    rowAsArray: asArray,
    fields: fields.map((field) => ({ ...field, format: 'text' })),
  };
}

async function runBatch(
  client: pg.PoolClient,
  queries: Query[],
  headers: IncomingHttpHeaders,
  response: ServerResponse,
  options: QueryOptions,
) {
  const modes: string[] = [];
  const isolation = headers['neon-batch-isolation-level'];
  if (isolation !== undefined) {
    const level = ISOLATION_LEVELS[String(isolation)];
    if (level === undefined) throw new RequestError(400, 'invalid isolation level');
    modes.push(`ISOLATION LEVEL ${level}`);
    response.setHeader('neon-batch-isolation-level', isolation);
  }
  for (const [name, mode] of [
    ['neon-batch-read-only', 'READ ONLY'],
    ['neon-batch-deferrable', 'DEFERRABLE'],
  ] as const) {
    if (headers[name] !== 'true') continue;
    modes.push(mode);
    response.setHeader(name, 'true');
  }
  await client.query(`START TRANSACTION ${modes.join(', ')}`);
  const results = [];
  for (const query of queries) results.push(await runQuery(client, query, options));
  await client.query('COMMIT');
  return results;
}

/** Hands the connection back as new, or not at all. */
async function reset(client: pg.PoolClient): Promise<void> {
  try {
    // Inside a transaction, which a failed statement leaves behind, DISCARD ALL is refused.
    await client.query('DISCARD ALL').catch(async () => {
      await client.query('ROLLBACK');
      await client.query('DISCARD ALL');
    });
    client.release();
  } catch {
    client.release(true);
  }
}

/** Object identifiers of the types that Neon's proxy turns into JSON values of their own kind. */
const BOOL = 16;
const NUMBERS = new Set([21, 23, 700, 701]);
const JSONS = new Set([114, 3802]);

function jsonValue(text: string | null, field: pg.FieldDef | undefined): unknown {
  if (text === null || !field) return null;
  if (field.dataTypeID === BOOL) return text === 't';
  if (NUMBERS.has(field.dataTypeID)) return Number.isFinite(Number(text)) ? Number(text) : text;
  if (JSONS.has(field.dataTypeID)) return JSON.parse(text) as unknown;
  return text;
}

function describe(error: unknown): { status: number; body: object } {
  if (error instanceof pg.DatabaseError) {
    const { message, code, severity } = error;
    const fields = Object.fromEntries(ERROR_FIELDS.map((name) => [name, error[name] ?? null]));
    // What the server refuses at log-in carries no code at Neon either: only the message tells.
    const authentication = code?.startsWith('28');
    return {
      status: 400,
      body: { message, code: authentication ? '' : code, severity: authentication ? '' : severity, ...fields },
    };
  }
  const nothing = Object.fromEntries(ERROR_FIELDS.map((name) => [name, null]));
  if (error instanceof Refusal)
    return { status: 400, body: { message: error.message, code: '', severity: '', ...nothing } };
  if (error instanceof RequestError) {
    return { status: error.status, body: { message: error.message, code: '', severity: '', ...nothing } };
  }
  return { status: 500, body: { message: 'Control plane request failed', code: '', severity: '', ...nothing } };
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
