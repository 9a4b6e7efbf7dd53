import { neon, neonConfig, Pool } from '@neondatabase/serverless';
import pg from 'pg';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';

let gateway: Gateway;
let test: TestDatabase;

beforeAll(async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  gateway = await startGateway({ upstream, port: 0, provider: 'planetscale' });
  test = await createEmptyDatabase(gateway.port);
  // As PlanetScale's documentation sets the driver up, but for TLS.
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  neonConfig.wsProxy = (host, port) => `${host}:${port}/v2?address=${host}:${port}`;
  neonConfig.useSecureWebSocket = false;
  neonConfig.pipelineConnect = false;
});

afterAll(async () => {
  await test.close();
  await gateway.close();
});

const withUser = (suffix: string, url = test.url) => {
  const changed = new URL(url);
  changed.username += suffix;
  return changed.href;
};

describe('the gateway in place of PlanetScale', () => {
  it('passes SCRAM through for pg, and takes the branch off the user', async () => {
    const client = new pg.Client({ connectionString: withUser('.main') });
    await client.connect();
    expect((await client.query('select session_user as role')).rows).toEqual([{ role: 'app' }]);
    await client.end();
  });

  it('serves the driver over WebSocket and HTTP', async () => {
    const pool = new Pool({ connectionString: withUser('.main') });
    expect((await pool.query('select session_user as role')).rows).toEqual([{ role: 'app' }]);
    await pool.end();
    expect(await neon(withUser('.main'))`select session_user as role`).toEqual([{ role: 'app' }]);
    await expect(neon(test.url)`select 1`).rejects.toThrow('username must include branch');
  });

  it('refuses a WebSocket that does not say where to', async () => {
    for (const path of ['/v2', '/v2?address=', '/other?address=localhost:5432']) {
      const refused = new Promise((resolve) => {
        new WebSocket(`ws://127.0.0.1:${gateway.port}${path}`).on('error', (error) => resolve(error.message));
      });
      expect(await refused).toContain('400');
    }
  });

  it('refuses a user without a branch', async () => {
    const client = new pg.Client({ connectionString: test.url });
    await expect(client.connect()).rejects.toMatchObject({ code: '28000', message: expect.stringContaining('branch') });
  });

  it('refuses a setting that its pooler cannot keep', async () => {
    const connectionString = withUser('.main').replace(/:\d+\//, `:${gateway.poolerPort}/`);
    const client = new pg.Client({ connectionString, statement_timeout: 5_000 });
    const message = 'unsupported startup parameter: statement_timeout';
    await expect(client.connect()).rejects.toMatchObject({ code: '08P01', message });
  });

  it('refuses a replica where there is none', async () => {
    const client = new pg.Client({ connectionString: withUser('.main|replica') });
    await expect(client.connect()).rejects.toMatchObject({
      code: '28000',
      message: expect.stringContaining('replica'),
    });
  });

  it('takes the route that an address names, be it by PlanetScale’s port or by its own', async () => {
    const { port: direct, poolerPort: pooled } = gateway;
    const wsProxy = neonConfig.wsProxy;
    for (const [arrived, named, keeps] of [
      [direct, 6432, false],
      [direct, pooled, false],
      [direct, 7777, true],
      [pooled, 5432, true],
      [pooled, direct, true],
      [pooled, 7777, false],
    ] as const) {
      neonConfig.wsProxy = (host, port) => `${host}:${arrived}/v2?address=${host}:${port}`;
      const pool = new Pool({ connectionString: withUser('.main').replace(/:\d+\//, `:${named}/`), max: 1 });
      await pool.query(`set application_name = 'kept'`);
      const { rows } = await pool.query(`select current_setting('application_name') = 'kept' as kept`);
      expect([arrived, named, rows]).toEqual([arrived, named, [{ kept: keeps }]]);
      await pool.end();
    }
    neonConfig.wsProxy = wsProxy;
  });

  it('passes on that the password is wrong', async () => {
    const wrong = new URL(withUser('.main'));
    wrong.password = 'wrong';
    const client = new pg.Client({ connectionString: wrong.href });
    await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
  });

  it('lets no superuser in', async () => {
    const superuser = new URL(inject('stack').superuser);
    superuser.port = String(gateway.port);
    for (const options of [undefined, '-c role=app', '-c search_path=public,pg_catalog']) {
      const client = new pg.Client({ connectionString: withUser('.main', superuser.href), options });
      await expect(client.connect()).rejects.toMatchObject({ code: '28000' });
    }
  });
});
