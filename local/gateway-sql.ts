import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { CONTROL_PLANE_ERROR, describeError, RequestError } from './gateway-errors.ts';
import { logIn } from './gateway-login.ts';
import { createPool, type Login, type PoolOptions } from './gateway-pool.ts';
import { parseBody, type Query, readBatchOptions, readBody, readConnectionString } from './gateway-request.ts';
import { createResults, FIND_OWN_ARRAYS, type Results } from './gateway-results.ts';
import { createSession } from './gateway-session.ts';
import type { Route } from './gateway-routes.ts';
import type { Simulator } from './gateway-simulation.ts';
import { parameterText } from './json-values.ts';
import { encodeFlight, type Statement } from './postgres-flight.ts';
import { query } from './postgres-messages.ts';

/** Bytes. */
export interface HttpLimits {
  maxRequestBytes: number;
  maxResponseBytes: number;
}

/** Both are 10 MiB in Neon's proxy (`proxy/src/config.rs`). */
export const HTTP_LIMITS: HttpLimits = { maxRequestBytes: 10 * 1024 * 1024, maxResponseBytes: 10 * 1024 * 1024 };

/**
 * As many as Neon's proxy pools per endpoint (`sql_over_http_pool_max_conns_per_endpoint`). PgBouncer's `query_wait_timeout` is
 * 120 s, longer than anyone waits at a laptop.
 */
export const POOL: PoolOptions = { max: 20, waitMs: 30_000 };

/** A Bind message counts its parameters in 16 bits. */
const MAX_PARAMETERS = 65_535;

const EVERYBODY = { 'access-control-allow-origin': '*' };

/** What Neon's proxy answers to a browser's preflight request, word for word. */
const PREFLIGHT = {
  ...EVERYBODY,
  allow: 'OPTIONS, POST',
  'access-control-allow-headers':
    'Authorization, Neon-Connection-String, Neon-Raw-Text-Output, Neon-Array-Mode, Neon-Pool-Opt-In, Neon-Batch-Read-Only, Neon-Batch-Isolation-Level',
  'access-control-max-age': '86400',
};

export interface SqlOptions {
  counts: { requests: number; batches: number };
  simulator: Simulator;
  limits: HttpLimits;
  pool: PoolOptions;
}

/** Where the user of a connection string is routed, and as whom. @throws {Refusal} */
type FindRoute = (user: string, port: number) => Route;

/** `POST /sql`: one query, or a batch as one transaction, over connections that are reset between uses. */
export function createSqlHandler({ counts, simulator, limits, pool: poolOptions }: SqlOptions) {
  const pool = createPool(async ({ upstream, user, password, database }, onReset, onClosed) => {
    return createSession(await logIn(upstream, { user, database }, password), upstream, onReset, onClosed);
  }, poolOptions);

  const answer = async (request: IncomingMessage, response: ServerResponse, findRoute: FindRoute): Promise<void> => {
    counts.requests++;
    const { headers } = request;
    const { user, password, database, port } = readConnectionString(headers);
    const { upstream, role } = findRoute(user, port);
    const batchOptions = readBatchOptions(headers);
    const body = parseBody(await readBody(request, limits.maxRequestBytes));
    const batch = Array.isArray(body);
    if (batch) counts.batches++;
    const queries = batch ? body : [body];
    const statements = queries.map(toStatement);
    const rawText = headers['neon-raw-text-output'] === 'true';
    const flight = encodeFlight(batch ? [start(batchOptions.modes), ...statements] : statements);
    const flights = rawText ? [flight] : [FIND_OWN_ARRAYS, flight];
    const arrayMode = headers['neon-array-mode'] === 'true';
    const results = createResults({
      rawText,
      arrayModes: queries.map((query) => query.arrayMode ?? arrayMode),
      batch,
      maxBytes: limits.maxResponseBytes,
    });

    if (simulator.controlPlaneFails()) throw new RequestError(500, CONTROL_PLANE_ERROR);
    const drop = simulator.nextDrop();
    if (drop === 'before') return void request.socket.destroy();
    const release = await simulator.use();
    try {
      await run({ upstream, user: role, password, database }, response, flights, results, batch ? COMMIT : undefined);
    } catch (error) {
      throw results.error() ?? error; // why the connection was lost, if the server has said so
    } finally {
      release();
    }
    if (drop === 'after' || (drop === 'commit' && results.committed())) return void request.socket.destroy();
    const error = results.error();
    if (error) throw error;
    send(response, 200, results.body(), batch ? batchOptions.headers : {});
  };

  /** If the client disconnects, its query is cancelled. */
  const run = async (
    login: Login,
    response: ServerResponse,
    flights: Buffer[],
    results: Results,
    commit: Buffer | undefined,
  ): Promise<void> => {
    const session = await pool.acquire(login, response);
    if (response.destroyed) return session.close();
    const onGone = () => session.cancel();
    response.once('close', onGone);
    try {
      await session.run(flights, results, commit);
    } finally {
      response.off('close', onGone);
    }
  };

  return {
    handle(request: IncomingMessage, response: ServerResponse, findRoute: FindRoute): void {
      const path = request.url?.split('?', 1)[0];
      if (path === '/sql' && request.method === 'POST') {
        answer(request, response, findRoute).catch((error: unknown) => {
          const { status, body } = describeError(error);
          send(response, status, [Buffer.from(JSON.stringify(body))]);
        });
      } else if (path === '/sql' && request.method === 'OPTIONS') {
        response.writeHead(200, { ...PREFLIGHT, 'neon-request-id': randomUUID() }).end();
      } else {
        send(response, 400, [Buffer.from('"query is not supported"')]);
      }
    },

    /** Does not wait for queries that are still running. */
    close: (): void => pool.close(),
  };
}

/** On its own, as Neon's proxy sends it: a batch whose answer is too large must not be committed. */
const COMMIT = query('COMMIT');

function start(modes: string[]): Statement {
  return { query: `START TRANSACTION ${modes.join(', ')}`, params: [], describe: false };
}

function toStatement({ query, params }: Query): Statement {
  if (query.includes('\0')) throw new RequestError(400, 'the query contains a null byte');
  if (params.length > MAX_PARAMETERS) throw new RequestError(400, `more than ${MAX_PARAMETERS} parameters`);
  try {
    return { query, params: params.map(parameterText), describe: true };
  } catch {
    throw new RequestError(400, 'a parameter nests too deeply, or is too long');
  }
}

function send(response: ServerResponse, status: number, body: Buffer[], headers: Record<string, string> = {}): void {
  if (response.destroyed) return;
  const length = body.reduce((sum, block) => sum + block.length, 0);
  response.writeHead(status, {
    ...EVERYBODY,
    'neon-request-id': randomUUID(),
    'content-type': 'application/json',
    'content-length': length,
    ...headers,
  });
  const last = body.pop();
  for (const block of body) response.write(block);
  // A string is sent with the head in one write. As Latin-1, its bytes stay what they are.
  if (body.length === 0) response.end(last?.toString('latin1'), 'latin1');
  else response.end(last);
}
