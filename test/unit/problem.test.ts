import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { requestId } from 'hono/request-id';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { AppEnv } from '../../src/create-app.ts';
import { DatabaseError } from '../../src/db/error.ts';
import { answerProblem, Problem } from '../../src/problem.ts';
import { runModule } from '../run-module.ts';
import { apiToken } from '../token.ts';

afterEach(() => vi.restoreAllMocks());

/** What the caller gets and what the log and error trackers get when a route throws. */
const answer = async (error: unknown) => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  let reported: Error | undefined;
  const app = new Hono<AppEnv>()
    .onError(answerProblem)
    .use(async (c, next) => {
      await next();
      reported = c.error;
    })
    .use(requestId())
    .get('/', () => {
      throw error;
    });
  const response = await app.request('/', { headers: { 'X-Request-Id': 'request-1' } });
  const lines = log.mock.calls.map(([line]) => String(line));
  return { response, body: await response.text(), log: lines.join('\n'), reported };
};

describe('a missing or wrong token', () => {
  it.each([
    ['a route', new Problem('unauthorized'), 'Bearer realm="api"'],
    ['a middleware', new HTTPException(401), 'Bearer realm="api"'],
    [
      'a middleware with a challenge of its own',
      new HTTPException(401, { res: new Response('', { headers: { 'WWW-Authenticate': 'Bearer realm="own"' } }) }),
      'Bearer realm="own"',
    ],
  ])('that %s refuses is answered with what to send', async (_, error, challenge) => {
    const { response } = await answer(error);
    expect([response.status, response.headers.get('WWW-Authenticate')]).toEqual([401, challenge]);
  });
});

it.each([
  ['a refusal', new Problem('not-found')],
  ['a middleware’s refusal', new HTTPException(413)],
])('%s is no failure that an error tracker reports', async (_, error) => {
  expect((await answer(error)).reported).toBeUndefined();
});

it.each([
  ['an unexpected error', new Error('the books are wrong')],
  ['an outage of the database', new DatabaseError('gone', { kind: 'connection' })],
])('%s is one', async (_, error) => {
  expect((await answer(error)).reported).toBe(error);
});

describe('an unexpected error', () => {
  it('tells the caller its request id and nothing else, and the log everything but credentials', async () => {
    const refused = new Error('connection refused');
    const cause = new Error('cannot reach postgresql://app:hunter2@and-more@db.example.com/app', { cause: refused });
    // As other libraries' errors have them, and mean something else.
    const fields = { status: 404, kind: 'timeout', hint: { password: 'hunter2' } };
    const { response, body, log } = await answer(Object.assign(new Error('the books are wrong', { cause }), fields));
    expect(response.status).toBe(500);
    expect(JSON.parse(body)).toMatchObject({ type: 'urn:problem:internal-error', instance: 'urn:request:request-1' });
    expect(body).not.toMatch(/books|hunter2|db\.example/);
    expect(JSON.parse(log)).toMatchObject({
      level: 'error',
      requestId: 'request-1',
      error: {
        name: 'Error',
        message: 'the books are wrong',
        stack: expect.stringContaining('problem.test.ts') as string,
        cause: {
          message: 'cannot reach postgresql://***@db.example.com/app',
          cause: { message: 'connection refused' },
        },
      },
    });
    expect(log).not.toContain('hunter2');
  });

  it('that is its own cause is logged all the same', async () => {
    const error = new Error('round and round');
    error.cause = error;
    const { response, log } = await answer(error);
    expect(response.status).toBe(500);
    expect(log.match(/round and round/g)?.length).toBeGreaterThan(1);
  });

  it.each(['connection', 'timeout', 'unavailable', 'serialization', 'outcome-unknown'] as const)(
    'of the database, %s, is answered with 503 and when to come back',
    async (kind) => {
      const { response, log } = await answer(new DatabaseError('gone', { kind }));
      expect([response.status, response.headers.get('Retry-After')]).toEqual([503, expect.stringMatching(/^[2-5]$/)]);
      expect(log).toContain(`"kind":"${kind}"`);
    },
  );

  it('of a database that takes no writes for now is answered with 503', async () => {
    const message = 'cannot execute INSERT in a read-only transaction';
    const { response, log } = await answer(new DatabaseError(message, { kind: 'query', code: '25006' }));
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, expect.stringMatching(/^[2-5]$/)]);
    expect(log).toContain('"code":"25006"');
  });

  it('of the database says in the log where PostgreSQL found it, and nothing of the row', async () => {
    const cause = Object.assign(new Error('column "nam" does not exist'), {
      position: '8',
      hint: 'name?',
      detail: 'Ada',
    });
    const where = { transport: 'http', constraint: 'names', table: 'people', column: 'nam' } as const;
    const { log } = await answer(new DatabaseError('column "nam" does not exist', { kind: 'query', cause, ...where }));
    expect(JSON.parse(log)).toMatchObject({ error: { ...where, cause: { position: '8', hint: 'name?' } } });
    expect(log).not.toContain('Ada');
  });

  it.each(['auth', 'constraint', 'query'] as const)('of the database, %s, is answered with 500', async (kind) => {
    const { response } = await answer(new DatabaseError('refused', { kind }));
    expect(response.status).toBe(500);
  });

  it('of a library’s own making is answered with its status and what it says', async () => {
    for (const status of [400, 401, 403, 404, 413, 429] as const) {
      const { response, body, log } = await answer(new HTTPException(status, { message: 'Malformed' }));
      expect([response.status, log]).toEqual([status, '']);
      expect(JSON.parse(body)).toMatchObject({ detail: 'Malformed' });
      expect(JSON.parse((await answer(new HTTPException(status))).body)).not.toHaveProperty('detail');
    }
  });

  it.each([500, 502] as const)(
    'of a library’s own making, with status %d, is answered and logged as any',
    async (status) => {
      const { response, body, log } = await answer(new HTTPException(status, { message: 'away' }));
      expect(response.status).toBe(500);
      expect(JSON.parse(body)).toMatchObject({ type: 'urn:problem:internal-error', instance: 'urn:request:request-1' });
      expect(body).not.toContain('away');
      expect(JSON.parse(log)).toMatchObject({ requestId: 'request-1', error: { message: 'away' } });
    },
  );
});

it.each([
  ['sql`select nowhere`', 'no such column'],
  ['sql`select ${() => 1}`', 'A parameter is refused: it is a function'],
])('the stack of a database error names the route, whatever asked for it and how: %s', async (query, message) => {
  // On its own: Vitest sets how many calls a stack keeps here.
  const script = `
    import { sql } from 'drizzle-orm';
    import { EXAMPLE_ENVIRONMENT } from './scripts/example-environment.ts';
    import { parseConfig } from './src/config.ts';
    import { createApp } from './src/create-app.ts';
    import { neonHttp } from './src/db/http.ts';
    const refusal = { message: 'no such column', code: '42703', severity: 'ERROR' };
    globalThis.fetch = async () => new Promise((resolve) => setTimeout(resolve, 1, Response.json(refusal, { status: 400 })));
    const config = parseConfig({ ...EXAMPLE_ENVIRONMENT, API_TOKEN: '${apiToken}' });
    const { app } = createApp(config, { transports: { http: neonHttp() }, sockets: 'request' });
    const load = async (db) => void (await db.batch([db.execute(${query})]));
    app.get('/own', async function ownRoute(c) { await load(c.var.db); });
    await app.request('/own', { headers: { Authorization: 'Bearer ${apiToken}' } });`;
  const { stderr } = await runModule(script);
  const { error } = JSON.parse(stderr) as { error: { message: string; stack: string } };
  expect(error.message).toBe(message);
  expect(error.stack).toContain('at async ownRoute ');
});
