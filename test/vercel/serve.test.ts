import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, inject, it, onTestFinished } from 'vitest';
import { NOBODY } from '../contract.ts';
import { startServer } from '../node/start-server.ts';
import { apiToken } from '../token.ts';

const SERVE = fileURLToPath(new URL('../../scripts/serve-vercel.ts', import.meta.url));

/** Serves a file with this content. */
async function serve(content: string) {
  const directory = await mkdtemp(path.join(tmpdir(), 'serve-'));
  const entry = path.join(directory, 'entry.mjs');
  await writeFile(entry, content);
  const server = await startServer({ databaseUrl: NOBODY, apiToken }, [SERVE, entry]);
  onTestFinished(async () => {
    await server.close();
    await rm(directory, { recursive: true });
  });
  return server;
}

/** Answers with what @vercel/otel reads of the context, after leaving work to it as that does. */
const ENTRY = `export default {
  async fetch() {
    await undefined;
    const { headers, url, waitUntil } = globalThis[Symbol.for('@vercel/request-context')].get();
    return new Promise((done) => waitUntil(async () => done(Response.json([headers['x-asked'], url]))));
  },
};`;

it('what stands in for Vercel’s runtime gives each request a context of its own', async () => {
  const server = await serve(ENTRY);
  const ask = async (asked: string) => (await server.fetch(`/${asked}`, { headers: { 'X-Asked': asked } })).json();
  expect(await Promise.all(['one', 'two'].map(ask))).toEqual(
    ['one', 'two'].map((asked) => [asked, `${server.url}/${asked}`]),
  );
});

it('the app on Vercel asks over TCP where DATABASE_TRANSPORT says so', async () => {
  const { app, gatewayPort, postgresPort } = inject('stack');
  const databaseUrl = app.replace(`:${gatewayPort}/`, `:${postgresPort}/`);
  const overTcp = `data:text/javascript,process.env.DATABASE_TRANSPORT = 'tcp'`;
  const server = await startServer({ databaseUrl, apiToken }, ['--import', overTcp, SERVE]);
  onTestFinished(() => server.close());
  expect(await (await server.fetch('/health/ready')).json()).toEqual({ status: 'ready', transports: ['tcp'] });
});

it('what stands in for a platform’s runtime logs what a function throws', async () => {
  const server = await serve(`export default { async fetch() { throw new Error('out of paper'); } };`);
  const { stderr } = server.process;
  const logged = stderr && once(stderr, 'data');
  expect((await server.fetch('/')).status).toBe(500);
  expect(String(await logged)).toContain('out of paper');
});
