import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { type Server, startServer } from '../node/start-server.ts';
import { apiToken } from '../token.ts';

let database: TestDatabase;
let server: Server;
beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServer({ databaseUrl: database.url, apiToken });
  const headers = {
    Authorization: `Bearer ${apiToken}`,
    'Content-Type': 'application/json',
    'Idempotency-Key': 'smoke',
  };
  const post = async (path: string, body: object) => {
    const response = await server.fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
    return ((await response.json()) as { id: string }).id;
  };
  const open = (kind: string) => post('/accounts', { name: kind, currency: 'EUR', kind });
  const [fromAccountId, toAccountId] = [await open('external'), await open('ordinary')];
  await post('/transfers', { fromAccountId, toAccountId, amount: 5, currency: 'EUR' });
});
afterAll(async () => {
  await server.close();
  await database.close();
});

/** Runs what `npm run smoke` runs. */
async function smoke(args: string[], env: Record<string, string> = { API_TOKEN: apiToken }) {
  const script = fileURLToPath(new URL('../../scripts/smoke.ts', import.meta.url));
  const child = spawn(process.execPath, [script, ...args], { cwd: tmpdir(), env: { NO_COLOR: '1', ...env } });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'close')) as [number];
  return { code, output: (await output).join('') };
}

/** Serves the real API's answers, changed. */
async function startBroken(change: (path: string, response: Response) => Response | Promise<Response>) {
  const listener: RequestListener = (request, reply) => {
    const path = request.url ?? '';
    const { authorization } = request.headers;
    const forward = async () => {
      const answer = await server.fetch(path, { headers: authorization === undefined ? {} : { authorization } });
      const response = await change(path, answer);
      reply.writeHead(response.status, Object.fromEntries(response.headers)).end(await response.text());
    };
    void forward();
  };
  const broken = createServer(listener);
  await once(broken.listen(0, '127.0.0.1'), 'listening');
  return { url: `http://127.0.0.1:${(broken.address() as AddressInfo).port}`, close: () => broken.close() };
}

it('passes against the API', async () => {
  const { code, output } = await smoke([server.url]);
  expect(code, output).toBe(0);
  expect(output).toMatch(/ok {4}reads an account and a statement/);
  expect(output).toMatch(/9 passed, 0 failed/);
});

it.each<[string, RegExp, (path: string, response: Response) => Response | Promise<Response>]>([
  [
    'forgets to ask for the token',
    /FAIL {2}refuses who has no token/,
    (path, response) => (response.status === 401 ? Response.json({ items: [], nextCursor: null }) : response),
  ],
  [
    'cannot reach its database',
    /FAIL {2}reaches its database/,
    (path, response) => (path === '/health/ready' ? Response.json({}, { status: 503 }) : response),
  ],
  [
    'gives a statement that does not add up',
    /FAIL {2}reads an account and a statement/,
    async (path, response) => {
      if (!path.endsWith('/statement')) return response;
      return Response.json({ ...((await response.json()) as object), openingBalance: 1 });
    },
  ],
])('fails against an API that %s', async (_, failure, change) => {
  const broken = await startBroken(change);
  const { code, output } = await smoke([broken.url]);
  broken.close();
  expect(code).toBe(1);
  expect(output).toMatch(failure);
  expect(output).toMatch(/8 passed, 1 failed/);
  expect(output).not.toContain(apiToken);
});

it('says that its token is refused', async () => {
  const { code, output } = await smoke([server.url], { API_TOKEN: 'another-token-0123456789' });
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
  ['no URL', [], { API_TOKEN: apiToken }, /Name one URL/],
  ['what is no URL', ['example.com'], { API_TOKEN: apiToken }, /"example.com" is not an https:\/\/ URL/],
  ['a URL without TLS', ['http://api.example'], { API_TOKEN: apiToken }, /the token would be read/],
  ['no token', ['https://api.example'], {}, /API_TOKEN is not set/],
])('refuses %s', async (_, args, env, message) => {
  const { code, output } = await smoke(args, env);
  expect(code).toBe(1);
  expect(output).toMatch(message);
});
