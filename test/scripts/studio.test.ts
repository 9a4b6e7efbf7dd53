import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

/** Runs what `npm run db:studio` runs. */
async function startStudio() {
  const kit = path.join(path.dirname(createRequire(import.meta.url).resolve('drizzle-kit')), 'bin.cjs');
  const port = await anyFreePort();
  const child = spawn(process.execPath, [kit, 'studio', '--port', String(port)], {
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    env: { ...process.env, DATABASE_URL: database.url, DATABASE_OWNER_URL: database.ownerUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface(child.stdout)) if (line.includes('up and running')) break;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      child.kill();
      await once(child, 'exit');
    },
  };
}

it('runs SQL for its own pages, and for no others that the browser shows', async () => {
  const studio = await startStudio();
  const data = { sql: 'select current_user', params: [], mode: 'array', method: 'all' };
  const ask = (headers: Record<string, string>) =>
    fetch(studio.url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ type: 'proxy', data }),
    });
  try {
    const own = await ask({ Origin: 'https://local.drizzle.studio' });
    expect(await own.json()).toEqual([['app_owner']]);
    for (const headers of [{ Origin: 'https://example.com' }, { Origin: studio.url }, { Origin: 'null' }, {}])
      expect((await ask(headers)).status, JSON.stringify(headers)).toBe(404);
  } finally {
    await studio.close();
  }
});
