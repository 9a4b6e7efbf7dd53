import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { expect, inject, it } from 'vitest';
import { startGateway } from '../../local/gateway.ts';
import { createTestDatabase } from '../database.ts';
import { workerOptions } from './start-worker.ts';

const FUNCTIONS = fileURLToPath(new URL('../../functions', import.meta.url));

/** Its type needs those of Cloudflare's runtime. */
interface Worker {
  fetch(url: string): Promise<{ status: number }>;
  scheduled(options: { cron: string }): Promise<{ outcome: string }>;
}

it('the job on a schedule of docs/recipes.md runs, and its request goes to the database', async () => {
  const recipes = await readFile(new URL('../../docs/recipes.md', import.meta.url), 'utf8');
  const [, handlers = ''] = /```ts\n(export default \{\n.*?)```/s.exec(recipes) ?? [];
  const entry = await readFile(path.join(FUNCTIONS, 'worker.ts'), 'utf8');
  const contents = entry.replace('{ app }', '{ app, database }').replace('export default app;\n', handlers);
  const scriptPath = path.join(path.dirname(inject('workerBundle')), 'scheduled.js');
  await build({
    stdin: { contents, resolveDir: FUNCTIONS, loader: 'ts' },
    outfile: scriptPath,
    bundle: true,
    format: 'esm',
    external: ['cloudflare:workers'],
  });

  const gateway = await startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port: 0 });
  const database = await createTestDatabase(gateway.port);
  const bindings = { DATABASE_URL: database.url, API_TOKEN: 'test-token-0123456789' };
  const miniflare = new Miniflare(convertV4MiniflareOptions({ ...workerOptions(scriptPath), bindings }));
  try {
    const worker = (await miniflare.getWorker()) as unknown as Worker;
    const { requests } = gateway.stats();
    expect(await worker.scheduled({ cron: '0 3 * * *' })).toMatchObject({ outcome: 'ok' });
    expect(gateway.stats().requests).toBe(requests + 1);
    expect((await worker.fetch('http://localhost/health/live')).status).toBe(200);
  } finally {
    await miniflare.dispose();
    await gateway.close();
    await database.close();
  }
});
