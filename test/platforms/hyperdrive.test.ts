import path from 'node:path';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { describeContract, NOBODY, type Target } from '../contract.ts';
import { createTestDatabase } from '../database.ts';
import { apiToken } from '../token.ts';
import { buildHyperdriveWorker, carriesPg } from '../workers/build-worker.ts';
import { startWorker } from '../workers/start-worker.ts';

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
    expect(await carriesPg(bundle)).toBe(true);
  });
});
