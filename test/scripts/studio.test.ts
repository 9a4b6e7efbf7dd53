import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { createTestDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { startTlsWitness } from '../tls-witness.ts';

const STUDIO = 'https://local.drizzle.studio';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

/** Runs what `npm run db:studio` runs. */
async function startStudio(ownerUrl = database.ownerUrl, ...nodeArgs: string[]) {
  const kit = path.join(path.dirname(createRequire(import.meta.url).resolve('drizzle-kit')), 'bin.cjs');
  const port = await anyFreePort();
  const child = spawn(process.execPath, [...nodeArgs, kit, 'studio', '--port', String(port)], {
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    env: { ...process.env, DATABASE_URL: database.url, DATABASE_OWNER_URL: ownerUrl },
    // Where no server answers it, it says so at length.
    stdio: ['ignore', 'pipe', ownerUrl === database.ownerUrl ? 'inherit' : 'ignore'],
  });
  for await (const line of createInterface(child.stdout)) if (line.includes('up and running')) break;
  const url = `http://127.0.0.1:${port}`;
  const data = { sql: 'select current_user', params: [], mode: 'array', method: 'all' };
  return {
    url,
    ask: (headers: Record<string, string>) =>
      fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ type: 'proxy', data }),
      }),
    async close() {
      child.kill();
      await once(child, 'exit');
    },
  };
}

it('runs SQL for its own pages, and for no others that the browser shows', async () => {
  const studio = await startStudio();
  try {
    const own = await studio.ask({ Origin: STUDIO });
    expect(await own.json()).toEqual([['app_owner']]);
    for (const headers of [{ Origin: 'https://example.com' }, { Origin: studio.url }, { Origin: 'null' }, {}])
      expect((await studio.ask(headers)).status, JSON.stringify(headers)).toBe(404);
  } finally {
    await studio.close();
  }
});

// On Windows no signal can tell it to end.
it.skipIf(process.platform === 'win32')('ends with npm: what it serves is all of the database', async () => {
  const port = await anyFreePort();
  const npm = spawn('npm', ['run', 'db:studio', '--', '--port', String(port)], {
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    env: { ...process.env, DATABASE_URL: database.url, DATABASE_OWNER_URL: database.ownerUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface(npm.stdout)) if (line.includes('up and running')) break;
  expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(404);
  npm.kill();
  await once(npm, 'exit');
  const isGone = () => expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow('fetch failed');
  await vi.waitFor(isGone, PATIENCE);
});

it.each(['', '?sslmode=verify-full&sslrootcert=system'])(
  'asks a provider for TLS, with the URL’s parameters "%s"',
  async (search) => {
    const { port, asked, close } = await startTlsWitness();
    const everyName = `import dns from 'node:dns';
    dns.lookup = (_, { all }, found) => all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4);`;
    const shim = `data:text/javascript,${encodeURIComponent(everyName)}`;
    const studio = await startStudio(
      `postgresql://owner:secret@database.example:${port}/app${search}`,
      '--import',
      shim,
    );
    try {
      await studio.ask({ Origin: STUDIO });
      expect(asked).toEqual([true]);
    } finally {
      await studio.close();
      close();
    }
  },
);
