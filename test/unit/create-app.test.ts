import { Hono, type MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { afterEach, expect, it, vi } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';
import { requireResponse } from '../../src/middleware/require-response.ts';
import { apiToken } from '../token.ts';

afterEach(() => vi.restoreAllMocks());

const waitUntil = vi.fn<(c: unknown, promise: Promise<unknown>) => void>();

const ask = async (handler: () => unknown, before: MiddlewareHandler = (_, next) => next()) => {
  const config = parseConfig({ ...EXAMPLE_ENVIRONMENT, API_TOKEN: apiToken });
  const { app } = createApp(config, { transports: {}, sockets: 'request', waitUntil });
  app.get('/own', before, handler as () => Response);
  return app.request('/own', { headers: { Authorization: `Bearer ${apiToken}` } });
};

it.each([
  ['nothing of caches', {}, 'no-store'],
  ['what may be kept', { 'Cache-Control': 'max-age=60' }, 'max-age=60'],
])('a `Response` of a route’s own that says %s', async (_, headers, expected) => {
  const own = () => new Response('', { headers });
  expect((await ask(own)).headers.get('Cache-Control')).toBe(expected);
  // Such a middleware sets headers before there is a response; Hono then puts them over the response's own.
  expect((await ask(own, cors())).headers.get('Cache-Control')).toBe(expected);
});

it('what another server has answered is passed on, with the headers of every answer', async () => {
  const response = await ask(() => fetch('data:text/plain,kept'));
  const own = await ask(() => new Response('kept', { headers: { 'Content-Type': 'text/plain' } }));
  const [names, expected] = [response, own].map(({ headers }) => [...headers.keys()].toSorted());
  expect(names).toEqual(expected); // with those of CORS, where a browser may call
  expect(names).toEqual(
    expect.arrayContaining(['cache-control', 'content-type', 'x-content-type-options', 'x-request-id']),
  );
  expect(await response.text()).toBe('kept');
});

it.each([
  ['makes, or has answered before,', { status: 204 }],
  ['has from elsewhere', { headers: { 'X-Request-Id': 'theirs' } }],
])('a `Response` that a route %s names this request', async (_, init) => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const own = new Response(null, init);
  for (const time of [0, 1]) {
    const response = await ask(() => own);
    const { requestId } = JSON.parse(String(log.mock.calls[time])) as { requestId: string };
    expect(response.headers.get('X-Request-Id')).toBe(requestId);
  }
});

it('a token is compared as a whole, without a hash of it', async () => {
  const hash = vi.spyOn(crypto.subtle, 'digest');
  const { app } = createApp(parseConfig({ ...EXAMPLE_ENVIRONMENT, API_TOKEN: apiToken }), {
    transports: {},
    sockets: 'request',
  });
  const statuses = [apiToken, `${apiToken}x`, apiToken.slice(1), apiToken.slice(0, -1)].map(async (token) => {
    const { status } = await app.request('/nothing', { headers: { Authorization: `Bearer ${token}` } });
    return status;
  });
  expect(await Promise.all(statuses)).toEqual([404, 401, 401, 401]);
  expect(hash).not.toHaveBeenCalled();
});

it('the previous token stays valid while it is set', async () => {
  const previous = 'a-token-that-is-going';
  const statuses = async (API_TOKEN_PREVIOUS?: string) => {
    const config = parseConfig({ ...EXAMPLE_ENVIRONMENT, API_TOKEN: apiToken, API_TOKEN_PREVIOUS });
    const { app } = createApp(config, { transports: {}, sockets: 'request' });
    const answers = [apiToken, previous, 'a-token-of-nobody-here'].map(async (token) => {
      const { status } = await app.request('/nothing', { headers: { Authorization: `Bearer ${token}` } });
      return status;
    });
    return Promise.all(answers);
  };
  expect(await statuses(previous)).toEqual([404, 404, 401]);
  expect(await statuses()).toEqual([404, 401, 401]);
});

it('the log of a request has no character that speaks to a terminal or ends a line', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const config = parseConfig({ ...EXAMPLE_ENVIRONMENT, API_TOKEN: apiToken });
  const { app } = createApp(config, { transports: {}, sockets: 'request' });
  await app.request('/%1b[31m%c2%9b31m%c2%85%e2%80%a8%7f/caf%c3%a9');
  const path = '/%1B[31m%C2%9B31m%C2%85%E2%80%A8%7F/café';
  expect(log.mock.calls).toEqual([[expect.stringContaining(JSON.stringify({ path }).slice(1, -1))]]);
});

const rejectWith = async (thrown: unknown) => {
  // oxlint-disable-next-line typescript/only-throw-error -- as libraries do
  throw thrown;
};

it.each([
  ['throws a text', () => rejectWith('out of paper'), { cause: 'out of paper' }],
  ['throws an object', () => rejectWith({ message: 'out of ink' }), { cause: 'out of ink' }],
  ['throws a text with a password', () => rejectWith('no postgresql://a:b@c/d'), { cause: 'no postgresql://***@c/d' }],
  ['throws null', () => rejectWith(null), { cause: 'null' }],
  ['throws undefined', () => rejectWith(undefined), { message: 'What was thrown is not an Error.' }],
  ['returns nothing', async () => {}, { message: 'The handler returned no response.' }],
  ['returns an object', () => ({ id: 1 }), { message: 'The handler returned no response.' }],
  ['returns a failure of `fetch`', () => Response.error(), { message: 'The handler returned no response.' }],
])('a handler that %s is answered and logged as any failure, and leaves nothing open', async (_, handler, error) => {
  const [failures, requests] = (['error', 'log'] as const).map((method) =>
    vi.spyOn(console, method).mockImplementation(() => {}),
  );
  waitUntil.mockClear();
  const response = await ask(handler);
  expect(response.status).toBe(500);
  const requestId = response.headers.get('X-Request-Id');
  expect(await response.json()).toMatchObject({ instance: `urn:request:${requestId}` });
  const logged = [failures, requests].map((spy) => spy?.mock.calls.map(([line]) => JSON.parse(String(line)) as object));
  expect(logged).toEqual([
    [expect.objectContaining({ requestId, error: expect.objectContaining(error) as object })],
    [expect.objectContaining({ requestId, status: 500 })],
  ]);
  expect(waitUntil.mock.calls).toEqual([[expect.anything(), expect.any(Promise)]]);
});

it('a handler that returns nothing fails also where no middleware returns what `next` does', async () => {
  const app = new Hono().use(requireResponse()).get('/', vi.fn<() => Response>()); // which answers nothing
  app.onError(({ message }, c) => c.text(message, 500));
  expect(await (await app.request('/')).text()).toBe('The handler returned no response.');
});
