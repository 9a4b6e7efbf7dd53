import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { describeContract, NOBODY, type Target } from '../contract.ts';
import { createTestDatabase } from '../database.ts';
import { apiToken } from '../token.ts';
import { buildWorker } from '../workers/build-worker.ts';
import { startWorker } from '../workers/start-worker.ts';
import { replaceOnce } from './replace-once.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * The Worker with all switches of wrangler.toml on, and the one of functions/worker.ts.
 * @returns the bundle's path
 */
async function buildHyperdriveWorker(outdir: string): Promise<string> {
  const read = (file: string) => readFile(path.join(ROOT, file), 'utf8');
  const switched = replaceOnce(await read('functions/worker.ts'), "'./worker-neon.ts'", "'./worker-hyperdrive.ts'");
  const entry = switched.replaceAll(
    /from '(\.[^']+)'/g,
    (_, file: string) => `from '${ROOT}${path.join('functions', file)}'`,
  );
  const configuration = (await read('wrangler.toml')).replaceAll(/^#(?=\S)/gm, '');
  await mkdir(outdir, { recursive: true });
  const [entryFile, configurationFile] = [path.join(outdir, 'worker.ts'), path.join(outdir, 'wrangler.toml')];
  await writeFile(entryFile, entry);
  await writeFile(configurationFile, replaceOnce(configuration, '"functions/worker.ts"', JSON.stringify(entryFile)));
  return buildWorker(path.join(outdir, 'bundle'), ['--config', configurationFile]);
}

/** A URL that leads to PostgreSQL itself where it led to the gateway. */
const overTcp = (url: string) => url.replace(`:${inject('stack').gatewayPort}/`, `:${inject('stack').postgresPort}/`);

describe('a Worker that is switched to Hyperdrive', () => {
  let bundle: string;
  beforeAll(async () => {
    bundle = await buildHyperdriveWorker(path.join(path.dirname(inject('workerBundle')), 'hyperdrive'));
  });

  describeContract(
    'Workers through Hyperdrive',
    (options) => {
      const databaseUrl = overTcp(options.databaseUrl);
      return startWorker({ ...options, databaseUrl }, bundle, { hyperdrives: { HYPERDRIVE: databaseUrl } });
    },
    { transports: ['tcp'] },
  );

  it('sends everything through Hyperdrive but sessions, which go to the database itself', async () => {
    const database = await createTestDatabase();
    const start = (databaseUrl: string, hyperdrive: string) =>
      startWorker({ databaseUrl, apiToken }, bundle, { hyperdrives: { HYPERDRIVE: hyperdrive } });
    const statuses = async (worker: Target) => {
      const headers = { Authorization: `Bearer ${apiToken}` };
      const list = await worker.fetch('/accounts', { headers });
      const session = await worker.fetch('/reconciliations', { method: 'POST', headers });
      await worker.close();
      return [list.status, session.status];
    };
    const url = overTcp(database.url);
    expect(await statuses(await start(NOBODY, url))).toEqual([200, 503]);
    expect(await statuses(await start(url, NOBODY))).toEqual([503, 200]);
    await database.close();
  });

  it('carries pg, unlike the default one', async () => {
    // In workerd `pg` reaches the network through this module; nothing else here does.
    const carriesPg = async (file: string) => (await readFile(file, 'utf8')).includes('cloudflare:sockets');
    expect([await carriesPg(bundle), await carriesPg(inject('workerBundle'))]).toEqual([true, false]);
  });
});
