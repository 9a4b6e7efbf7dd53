import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { workerOptions } from './start-worker.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Its type needs those of Cloudflare's runtime. */
interface Scheduled {
  scheduled(options: { cron: string }): Promise<{ outcome: string }>;
}

let gateway: Gateway;
let database: TestDatabase;
/** The TypeScript of docs/recipes.md, block by block. */
let blocks: string[];
const running: Miniflare[] = [];

beforeAll(async () => {
  gateway = await startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port: 0 });
  database = await createTestDatabase(gateway.port);
  const recipes = await readFile(path.join(ROOT, 'docs/recipes.md'), 'utf8');
  blocks = [...recipes.matchAll(/```ts\n(.*?)```/gs)].map(([, block = '']) => block);
});

afterAll(async () => {
  await Promise.all(running.map((miniflare) => miniflare.dispose()));
  await gateway.close();
  await database.close();
});

/** The block that contains `text`. */
function blockWith(text: string): string {
  const block = blocks.find((candidate) => candidate.includes(text));
  if (!block) throw new Error(`docs/recipes.md says nothing of ${text}`);
  return block;
}

/** Starts the Worker with a change in one of its files. */
async function startChanged(name: string, file: string, edits: [from: string, to: string][]) {
  let contents = await readFile(path.join(ROOT, file), 'utf8');
  for (const [from, to] of edits) {
    expect(contents).toContain(from);
    contents = contents.replace(from, () => to);
  }
  const scriptPath = path.join(path.dirname(inject('workerBundle')), `${name}.js`);
  await build({
    entryPoints: [path.join(ROOT, 'functions/worker.ts')],
    outfile: scriptPath,
    bundle: true,
    format: 'esm',
    external: ['cloudflare:workers'],
    plugins: [
      {
        name: 'change',
        setup: (bundler) =>
          bundler.onLoad({ filter: /\.ts$/ }, (args) =>
            args.path === path.join(ROOT, file) ? { contents, loader: 'ts' } : undefined,
          ),
      },
    ],
  });
  const bindings = { DATABASE_URL: database.url, API_TOKEN: 'test-token-0123456789' };
  const miniflare = new Miniflare(convertV4MiniflareOptions({ ...workerOptions(scriptPath), bindings }));
  running.push(miniflare);
  return miniflare;
}

it('the job on a schedule runs, and its request goes to the database', async () => {
  const miniflare = await startChanged('scheduled', 'functions/worker.ts', [
    ['{ app }', '{ app, database }'],
    ['export default app;\n', blockWith('scheduled(')],
  ]);
  const worker = (await miniflare.getWorker()) as unknown as Scheduled;
  const { requests } = gateway.stats();
  expect(await worker.scheduled({ cron: '0 3 * * *' })).toMatchObject({ outcome: 'ok' });
  expect(gateway.stats().requests).toBe(requests + 1);
  expect((await fetch(new URL('/health/live', await miniflare.ready))).status).toBe(200);
});

it('a browser is told what it may do, also where a request is refused', async () => {
  const log = '    .use(requestLog())\n';
  const middleware = blockWith(log);
  const miniflare = await startChanged('cors', 'src/create-app.ts', [
    [`import { Hono } from 'hono';\n`, `import { Hono } from 'hono';\n${blockWith(`'hono/cors'`)}`],
    [log, middleware],
  ]);
  const url = new URL('/transfers', await miniflare.ready);
  const headers = { Origin: 'https://app.example.com' };
  const asked = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization' };
  const preflight = await fetch(url, { method: 'OPTIONS', headers: { ...headers, ...asked } });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('Access-Control-Allow-Origin')).toBe(headers.Origin);
  expect(preflight.headers.get('Access-Control-Allow-Methods')).toContain('POST');
  expect(preflight.headers.get('Access-Control-Allow-Headers')).toBe('authorization');

  const refused = await fetch(url, { method: 'POST', headers });
  expect(refused.status).toBe(401);
  expect(refused.headers.get('Access-Control-Allow-Origin')).toBe(headers.Origin);
  expect(refused.headers.get('Access-Control-Expose-Headers')).toBe('X-Request-Id');

  const stranger = await fetch(url, { method: 'POST', headers: { Origin: 'https://example.org' } });
  expect(stranger.headers.get('Access-Control-Allow-Origin')).toBeNull();
});
