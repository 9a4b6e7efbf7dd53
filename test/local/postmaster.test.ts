import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterEach, describe, expect, inject, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { deletePostgres, startPostgres } from '../../local/postgres.ts';
import { findPostmaster } from '../../local/postgres-process.ts';
import { PATIENCE } from '../database.ts';

const { platform } = process;

// Elsewhere than on Linux another program tells what a process is, `ps` wherever it is not Windows.
describe.each(platform === 'win32' ? [platform] : [platform, 'darwin'])('on %s', (name) => {
  const onPlatform = async (directory: string) => {
    Object.defineProperty(process, 'platform', { value: name });
    return findPostmaster(directory);
  };
  afterEach(() => void Object.defineProperty(process, 'platform', { value: platform }));

  it('a server is found by its lock', async () => {
    const { superuser, postgresPort } = inject('stack');
    const client = new pg.Client({ connectionString: superuser });
    await client.connect();
    const { rows } = await client.query<{ directory: string }>(`select current_setting('data_directory') as directory`);
    await client.end();
    expect(await onPlatform(rows[0]?.directory ?? '')).toMatchObject({ port: postgresPort, ready: true });
  });

  it('a lock whose number is that of another program by now names no server', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
    await writeFile(path.join(directory, 'postmaster.pid'), `${process.pid}\n${directory}\n1\n1\n\n\n\nready\n`);
    expect(await onPlatform(directory)).toBeUndefined();
    await rm(directory, { recursive: true });
  });
});

it('a server reads and writes times as one of a provider does, wherever this machine is', async () => {
  vi.stubEnv('TZ', 'Asia/Tokyo');
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const postgres = await startPostgres({ directory, port: await anyFreePort() });
  vi.unstubAllEnvs();
  const client = await postgres.connect();
  const { rows } = await client.query(`select timestamptz '2026-01-01'::text as time`);
  expect(rows).toEqual([{ time: '2026-01-01 00:00:00+00' }]);
  await client.end();
  await postgres.close();
  await deletePostgres(directory);
  await rm(directory, { recursive: true });
});

it('a server stops in order: its data need no recovery at the next start', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const postgres = await startPostgres({ directory, port: await anyFreePort() });
  await postgres.close();
  const log = await readFile(path.join(directory, 'postgres.log'), 'utf8');
  expect(log).toMatch(/database system is shut down\s*$/);
  await deletePostgres(directory);
  await rm(directory, { recursive: true });
});

it.skipIf(platform === 'win32')('a server that recovers from the crash of a session stops', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const postgres = await startPostgres({ directory, port: await anyFreePort() });
  const client = await postgres.connect();
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  process.kill(rows[0]?.pid ?? Number.NaN, 'SIGKILL');
  await vi.waitFor(
    async () => {
      expect(await readFile(path.join(directory, 'postgres.log'), 'utf8')).toContain('reinitializing');
    },
    { timeout: PATIENCE, interval: 1 },
  );
  await postgres.close();
  await deletePostgres(directory);
  await rm(directory, { recursive: true });
});
