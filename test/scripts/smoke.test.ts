import { AssertionError } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startListening } from '../../local/start-listening.ts';
import { seedDemoData } from '../../scripts/demo.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { type Answer, CHECKS } from '../../scripts/smoke-checks.ts';
import { createDatabase } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import type { Target } from '../contract.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { startApp } from '../node/start-app.ts';
import { apiToken } from '../token.ts';

let test: TestDatabase;
let api: Target;
beforeAll(async () => {
  test = await createTestDatabase();
  api = await startApp({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: test.url, API_TOKEN: apiToken });
  const transports = { http: neonHttp(), websocket: neonWebSocket() };
  const database = createDatabase({ url: test.url, schema: {}, transports, sockets: 'instance' });
  await seedDemoData(database);
  await database.close();
});
afterAll(async () => {
  await api.close();
  await test.close();
});

/** Runs what `npm run smoke` runs. */
async function smoke(args: string[], env: Record<string, string> = { API_TOKEN: apiToken }) {
  const script = fileURLToPath(new URL('../../scripts/smoke.ts', import.meta.url));
  const child = spawn(process.execPath, [script, ...args], { cwd: tmpdir(), env: { NO_COLOR: '1', ...env } });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'close')) as [number];
  return { code, output: (await output).join('') };
}

type Change = (path: string, response: Response) => Response | Promise<Response>;

/** Serves the API's answers, changed. */
async function startServer(change: Change = (_, response) => response) {
  const listener: RequestListener = (request, reply) => {
    const path = request.url ?? '';
    const { authorization } = request.headers;
    const forward = async () => {
      const answer = await api.fetch(path, { headers: authorization === undefined ? {} : { authorization } });
      const response = await change(path, answer);
      reply.writeHead(response.status, Object.fromEntries(response.headers)).end(await response.text());
    };
    void forward();
  };
  const server = createServer(listener);
  return { url: `http://127.0.0.1:${await startListening(server)}`, close: () => server.close() };
}

async function expectFailure(change: Change, failure: RegExp): Promise<void> {
  const broken = await startServer(change);
  const { code, output } = await smoke([broken.url]);
  broken.close();
  expect(code).toBe(1);
  expect(output).toMatch(failure);
  expect(output).toMatch(/\d+ passed, 1 failed/);
  expect(output).not.toContain(apiToken);
}

it('passes against the API, which is not everywhere at first, and says what it waits for', async () => {
  let asked = 0;
  const server = await startServer((_, response) => (asked++ ? response : new Response(null, { status: 503 })));
  const { code, output } = await smoke([server.url]);
  server.close();
  expect(code, output).toBe(0);
  expect(output).toContain(`Checking ${server.url} …\nNot live yet: GET /health/live answers 503. Waiting `);
  expect(output).toMatch(/\d+ passed, 0 failed/);
});

it("passes through a gateway of AWS's, which gives a challenge another name", async () => {
  const server = await startServer((_, { headers, status, body }) => {
    const renamed = [...headers].map(([name, value]): [string, string] => [
      name.replace('www-authenticate', 'x-amzn-remapped-www-authenticate'),
      value,
    ]);
    return new Response(body, { status, headers: renamed });
  });
  const { code, output } = await smoke([server.url]);
  server.close();
  expect(code, output).toBe(0);
});

it.each<[string, Change, RegExp]>([
  [
    'answers without a challenge',
    (_, { headers, status, body }) => {
      headers.delete('WWW-Authenticate');
      return new Response(body, { status, headers });
    },
    /FAIL {2}refuses requests without a token/,
  ],
  [
    'forgets to ask for the token',
    (_, response) => (response.status === 401 ? Response.json({ items: [], nextCursor: null }) : response),
    /FAIL {2}refuses requests without a token/,
  ],
  [
    'cannot reach its database',
    (path, response) => (path === '/health/ready' ? Response.json({}, { status: 503 }) : response),
    /FAIL {2}reaches its database/,
  ],
])('fails against an API that %s', (_, change, failure) => expectFailure(change, failure));

it('fails against an API that gives a statement that does not add up', async () => {
  const change: Change = async (path, response) => {
    if (!path.endsWith('/statement')) return response;
    return Response.json({ ...((await response.json()) as object), openingBalance: 1 });
  };
  await expectFailure(change, /FAIL {2}reads an account and a statement/);
});

it.each<[name: string, by: string, change: (answer: Answer, token: string | undefined) => Partial<Answer>]>([
  ['is live', 'its status', () => ({ status: 204 })],
  ['is live', 'its body', () => ({ body: { status: 'ready' } })],
  ['is live', 'the header that names the request', () => ({ headers: new Headers() })],
  ['is live', 'a token that it asks for', (_, token) => (token === undefined ? { status: 401 } : {})],
  ['reaches its database over each transport', 'its status', () => ({ status: 503 })],
  ['reaches its database over each transport', 'its body', ({ body }) => ({ body: { ...body, status: 'live' } })],
  ['reaches its database over each transport', 'no transport', ({ body }) => ({ body: { ...body, transports: [] } })],
  [
    'reaches its database over each transport',
    'a token that it asks for',
    (_, token) => (token === undefined ? { status: 401 } : {}),
  ],
  [
    'refuses requests without a token, or with a wrong one',
    'no token',
    (_, token) => (token === undefined ? { status: 404 } : {}),
  ],
  [
    'refuses requests without a token, or with a wrong one',
    'a wrong one',
    (_, token) => (token === undefined ? {} : { status: 404 }),
  ],
  [
    'refuses requests without a token, or with a wrong one',
    'its type',
    ({ body }) => ({ body: { ...body, type: 'about:blank' } }),
  ],
  ['answers an unknown path with 404', 'its status', () => ({ status: 200 })],
  ['answers an unknown path with 404', 'its type', ({ body }) => ({ body: { ...body, type: 'about:blank' } })],
  [
    'answers an unknown path with 404',
    'its media type',
    () => ({ headers: new Headers({ 'Content-Type': 'application/json' }) }),
  ],
])('the check "%s" fails by %s', async (name, _, change) => {
  const check = CHECKS[name];
  const run = (changed: typeof change) =>
    check?.(async (path, { token } = { token: apiToken }) => {
      const response = await api.fetch(path, { headers: { ...(token && { Authorization: `Bearer ${token}` }) } });
      const { status, headers } = response;
      const answer = { status, headers, body: (await response.json()) as Record<string, unknown> };
      return { ...answer, ...changed(answer, token) };
    });
  await run(() => ({}));
  await expect(run(change)).rejects.toThrow(AssertionError);
});

it('follows no redirection', async () => {
  const asked: unknown[] = [];
  let bypass: unknown;
  const server = createServer((request, reply) => {
    asked.push(request.url);
    bypass = request.headers['x-vercel-protection-bypass'];
    reply.writeHead(307, { Location: '/elsewhere' }).end();
  });
  const url = `http://127.0.0.1:${await startListening(server)}`;
  const env: Record<string, string> = { API_TOKEN: apiToken };
  env['VERCEL_AUTOMATION_BYPASS_SECRET'] = 'let me in';
  const { code, output } = await smoke([url, '--wait', '0'], env);
  server.close();
  expect([code, asked]).toEqual([1, ['/health/live']]);
  expect(output).toContain('not live: GET /health/live answers 307');
  expect(bypass).toBe('let me in');
});

it('says that its token is refused', async () => {
  const server = await startServer();
  const { code, output } = await smoke([server.url], { API_TOKEN: 'another-token-0123456789' });
  server.close();
  expect(code).toBe(1);
  expect(output).toMatch(/refuses this API_TOKEN/);
  expect(output).not.toContain('FAIL');
});

it('fails against nobody, after the time that it was given', async () => {
  const { code, output } = await smoke(['http://127.0.0.1:1', '--wait', '0']);
  expect(code).toBe(1);
  expect(output).toMatch(/not live: fetch failed: (bad port|connect ECONNREFUSED)/);
});

it.each([
  ['no URL', [], { API_TOKEN: apiToken }, /Give one URL/],
  ['two URLs', ['https://one.example', 'https://other.example'], { API_TOKEN: apiToken }, /Give one URL/],
  [
    'a URL with a path',
    ['https://api.example/v1'],
    { API_TOKEN: apiToken },
    /Give only the address: https:\/\/api.example$/m,
  ],
  [
    'what is no time',
    ['https://api.example', '--wait', 'soon'],
    { API_TOKEN: apiToken },
    /--wait must be .*, not "soon"/,
  ],
  ['what is no URL', ['example.com'], { API_TOKEN: apiToken }, /"example.com" is not an https:\/\/ URL/],
  ['a URL without TLS', ['http://api.example'], { API_TOKEN: apiToken }, /the token could be read/],
  [
    'one that only begins as a local one',
    ['http://127.0.0.1.example'],
    { API_TOKEN: apiToken },
    /the token could be read/,
  ],
  ['one that only ends as a local one', ['http://not-localhost'], { API_TOKEN: apiToken }, /the token could be read/],
  ['no token', ['https://api.example'], {}, /API_TOKEN is not set/],
])('refuses %s', async (_, args, env, message) => {
  const { code, output } = await smoke(args, env);
  expect(code).toBe(1);
  expect(output).toMatch(message);
});
