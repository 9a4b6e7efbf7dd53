import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { neon, neonConfig } from '@neondatabase/serverless';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { anyFreePort, isFree } from '../../local/ports.ts';
import { deletePostgres } from '../../local/postgres.ts';
import { type Stack, startStack } from '../../local/stack.ts';
import { PATIENCE } from '../database.ts';

let directory: string;
let stack: Stack;
let planetscale: Gateway;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-replica-'));
  stack = await startStack({
    directory,
    postgresPort: await anyFreePort(),
    gatewayPort: 0,
    settings: { fsync: 'off' },
    replica: { port: await anyFreePort(), lagMs: 0 },
  });
  const at = (port: number) => ({ host: '127.0.0.1', port });
  planetscale = await startGateway({
    upstream: at(stack.postgres.port),
    replica: at(stack.replica?.port ?? 0),
    port: 0,
    provider: 'planetscale',
  });
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  await neon(stack.url.owner)`create table followed (n int)`;
});

afterAll(async () => {
  await planetscale.close();
  await stack.close();
  for (const { port } of [stack.gateway, stack.postgres]) expect(await isFree(port)).toBe(true);
  await deletePostgres(directory);
  expect(stack.replica && existsSync(stack.replica.dataDirectory)).toBe(false);
  await rm(directory, { recursive: true, force: true });
});

const rows = async () => (await neon(stack.replicaUrl?.owner ?? '')`select from followed`).length;

it('the application’s role makes temporary tables, as at a provider', async () => {
  expect(await neon(stack.url.app)`create temporary table mine (id int)`).toEqual([]);
});

describe('a replica', () => {
  /** Resolves when what is written from then on lags: a server tells its processes of a setting before it takes a connection. */
  const setLag = async (lagMs: number) => {
    await stack.replica?.setLag(lagMs);
    await vi.waitFor(async () => {
      const client = new pg.Client({ connectionString: stack.replicaUrl?.owner });
      await client.connect();
      const setting = `select setting from pg_settings where name = 'recovery_min_apply_delay'`;
      const { rows } = await client.query(setting);
      await client.end();
      expect(rows).toEqual([{ setting: String(lagMs) }]);
    }, PATIENCE);
  };

  it('follows the primary, as far behind as it is told', async () => {
    const write = () => neon(stack.url.owner)`insert into followed values (1)`;
    await write();
    await vi.waitFor(async () => expect(await rows()).toBe(1), PATIENCE);
    await setLag(60_000);
    await write();
    await expect(vi.waitFor(async () => expect(await rows()).toBe(2), 500)).rejects.toThrow();
    await setLag(0);
    await vi.waitFor(async () => expect(await rows()).toBe(2), PATIENCE);
  });

  it('is waited for no longer when the primary has ended', async () => {
    await setLag(60_000);
    await neon(stack.url.owner)`insert into followed values (1)`;
    const failed = expect(stack.replica?.catchUp()).rejects.toThrow();
    const admin = await stack.postgres.connect();
    await vi.waitFor(async () => {
      const ended = await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity
        where usename = 'postgres' and query in ('select', 'select pg_current_wal_flush_lsn() as lsn')`);
      expect(ended.rowCount).toBe(1);
    }, PATIENCE);
    await failed;
    await admin.end();
    await setLag(0);
  });

  it('refuses to write, over HTTP and over a socket', async () => {
    const url = stack.replicaUrl?.owner ?? '';
    await expect(neon(url)`insert into followed values (1)`).rejects.toMatchObject({ code: '25006' });
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await expect(client.query('create table other ()')).rejects.toMatchObject({ code: '25006' });
    await client.end();
  });

  it('is another user of PlanetScale’s direct port, and none of its pooler', async () => {
    const url = (user: string, port: number) =>
      stack.url.owner.replace('app_owner:', `${user}:`).replace(/:\d+\//, `:${port}/`);
    const isReplica = (user: string, port = planetscale.port) =>
      neon(url(user, port))`select pg_is_in_recovery() as replica`.then(([row]) => row?.['replica'] as unknown);
    expect(await isReplica('app_owner.main')).toBe(false);
    expect(await isReplica('app_owner.main%7Creplica')).toBe(true);
    expect(await isReplica('app_owner.main|replica')).toBe(true);
    expect(await isReplica('app_owner.main', planetscale.poolerPort)).toBe(false);
    expect(await isReplica('app_owner.main%7Cbouncer', planetscale.poolerPort)).toBe(false);
    await expect(isReplica('app_owner.main%7Creplica', planetscale.poolerPort)).rejects.toThrow('direct port');
    await expect(isReplica('app_owner.main%7Cbouncer')).rejects.toThrow('pooled port');

    const overTcp = new pg.Client({ connectionString: url('app_owner.main%7Creplica', planetscale.port) });
    await overTcp.connect();
    expect((await overTcp.query('select pg_is_in_recovery() as replica')).rows).toEqual([{ replica: true }]);
    await overTcp.end();
  });

  it('can have its queries cancelled', async () => {
    const client = new pg.Client({ connectionString: stack.replicaUrl?.owner });
    await client.connect();
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const running = client.query('select pg_sleep(20)').catch((error: pg.DatabaseError) => error.code);
    const sleeping = () =>
      neon(stack.replicaUrl?.owner ?? '')`select from pg_stat_activity where wait_event = 'PgSleep'`;
    await vi.waitFor(async () => expect(await sleeping()).toHaveLength(1), PATIENCE);
    const canceller = new pg.Client({ connectionString: stack.replicaUrl?.owner });
    const { connection } = canceller as unknown as {
      connection: {
        connect(port: number, host: string): void;
        cancel(id: number, key: number): void;
        once: typeof process.once;
      };
    };
    connection.connect(stack.gateway.replicaPort ?? 0, '127.0.0.1');
    connection.once('connect' as 'exit', () => connection.cancel(processID, secretKey));
    expect(await running).toBe('57014');
    await client.end();
  });
});
