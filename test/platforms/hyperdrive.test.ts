import dns from 'node:dns';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { connect } from '../../functions/worker-hyperdrive.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { parseConnectionString } from '../../src/db/connection-string.ts';
import { describeContract, NOBODY, type Target } from '../contract.ts';
import { createTestDatabase } from '../database.ts';
import { startTlsWitness } from '../tls-witness.ts';
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

  it('encrypts what goes to the database itself, of any name, and not what goes to Hyperdrive', async () => {
    const { port, asked, close } = await startTlsWitness();
    // Every name leads here.
    const lookup = (_name: string, { all }: dns.LookupOptions, found: (...answer: unknown[]) => void) =>
      all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4);
    vi.spyOn(dns, 'lookup').mockImplementation(lookup as never);
    onTestFinished(() => {
      vi.restoreAllMocks();
      close();
    });
    const urlOf = (host: string) => `postgresql://app:secret@${host}:${port}/app`;
    const [DATABASE_URL, DATABASE_REPLICA_URL] = [urlOf('database.example'), urlOf('replica.example')];
    const variables = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL, DATABASE_REPLICA_URL };
    expect(() => connect(variables)).toThrow('wrangler.toml must bind one as HYPERDRIVE');
    const HYPERDRIVE = { connectionString: `${urlOf('id.hyperdrive.local')}?sslmode=disable` };
    const { config, transports } = connect({ ...variables, HYPERDRIVE });
    const { url, unpooledUrl, replicaUrl = '' } = config.database;
    expect([unpooledUrl, replicaUrl]).toEqual([DATABASE_URL, DATABASE_REPLICA_URL]);
    for (const address of [url, unpooledUrl, replicaUrl]) {
      const connection = transports.tcp.open(parseConnectionString(address), 10_000);
      await new Promise((resolve) => (connection.onFailure = resolve));
    }
    expect(asked).toEqual([false, true, true]);
  });

  it('carries pg, unlike the default one', async () => {
    // In workerd `pg` reaches the network through this module; nothing else here does.
    const carriesPg = async (file: string) => (await readFile(file, 'utf8')).includes('cloudflare:sockets');
    expect([await carriesPg(bundle), await carriesPg(inject('workerBundle'))]).toEqual([true, false]);
  });
});
