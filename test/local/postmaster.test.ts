import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { copyBinariesForRoot, findBinaries } from '../../local/postgres-binaries.ts';
import { deletePostgres, startPostgres } from '../../local/postgres.ts';
import { findPostmaster, hasEnded, removeStaleLocks } from '../../local/postgres-process.ts';
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
    const link = path.join(await mkdtemp(path.join(tmpdir(), 'postmaster-')), 'link');
    await symlink(rows[0]?.directory ?? '', link);
    for (const directory of [rows[0]?.directory ?? '', link]) {
      expect(await onPlatform(directory)).toMatchObject({ port: postgresPort, ready: true });
    }
    await rm(path.dirname(link), { recursive: true });
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

it.each([
  ['', 0],
  ['\0\0\0\0', 0],
  ['', Date.now() + 3_600_000], // the clock was set back, too
])('a server starts over locks that say %j, as after a loss of power', async (content, time) => {
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const options = { directory, port: await anyFreePort() };
  const before = await startPostgres(options);
  await before.close();
  for (const name of ['postmaster.pid', `.s.PGSQL.${options.port}.lock`]) {
    await writeFile(path.join(before.dataDirectory, name), content);
    await utimes(path.join(before.dataDirectory, name), new Date(time), new Date(time));
  }
  await (await startPostgres(options)).close();
  await deletePostgres(directory);
  await rm(directory, { recursive: true });
});

it('the lock of a server without a postmaster stays', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const lock = path.join(directory, 'postmaster.pid');
  await writeFile(lock, `-${process.pid}\n`);
  await utimes(lock, new Date(0), new Date(0));
  await removeStaleLocks(directory);
  expect(await readdir(directory)).toEqual(['postmaster.pid']);
  await rm(directory, { recursive: true });
});

it(
  'the wait for a process that does not end is over at its deadline, although the clock is set back',
  async () => {
    onTestFinished(() => void vi.useRealTimers());
    const ended = hasEnded(process.pid, 100);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 });
    expect(await ended).toBe(false);
  },
  PATIENCE,
);

it('a server stops in order: its data need no recovery at the next start', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const postgres = await startPostgres({ directory, port: await anyFreePort() });
  await postgres.close();
  const log = await readFile(path.join(directory, 'postgres.log'), 'utf8');
  expect(log).toMatch(/database system is shut down\s*$/);
  await deletePostgres(directory);
  await rm(directory, { recursive: true });
});

it.skipIf(platform === 'win32')('a server that was left behind is stopped in order', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
  const port = await anyFreePort();
  const first = await startPostgres({ directory, port });
  const { dataDirectory } = first;
  await first.close();
  const { uid, gid } = await stat(dataDirectory);
  const isRoot = process.getuid?.() === 0;
  const { postgres } = isRoot ? await copyBinariesForRoot(await findBinaries()) : await findBinaries();
  const flags = ['-p', String(port), '-c', 'unix_socket_directories='];
  const left = spawn(postgres, ['-D', dataDirectory, ...flags], {
    cwd: '/',
    stdio: 'ignore',
    ...(isRoot && { uid, gid }),
  });
  onTestFinished(() => void left.kill('SIGQUIT'));
  const ended = once(left, 'exit');
  await vi.waitFor(async () => expect(await findPostmaster(dataDirectory)).toMatchObject({ ready: true }), PATIENCE);
  const next = await startPostgres({ directory, port });
  expect(await ended).toEqual([0, null]);
  expect(await readFile(path.join(directory, 'postgres.log'), 'utf8')).toContain('database system was shut down at');
  await next.close();
  await deletePostgres(directory);
  await rm(directory, { recursive: true });
});

it.skipIf(platform === 'win32')(
  'a server starts, and leaves no second copy of a password, whoever has its numbers by now',
  async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'postmaster-'));
    const port = await anyFreePort();
    const postgres = await startPostgres({ directory, port });
    await postgres.close();
    const { dataDirectory } = postgres;
    const names = await Promise.all([directory, path.dirname(dataDirectory)].map((folder) => readdir(folder)));
    const known = ['belongs-to', 'postgres', 'postgres-data-path', 'postgres.log', 'superuser-password'];
    expect(names.flat().filter((name) => !known.includes(name))).toEqual([]);

    const { uid, gid } = await stat(dataDirectory);
    const other = spawn('sleep', ['600'], { cwd: '/', ...(process.getuid?.() === 0 && { uid, gid }) });
    onTestFinished(() => void other.kill());
    for (const lock of ['postmaster.pid', `.s.PGSQL.${port}.lock`]) {
      await writeFile(path.join(dataDirectory, lock), `${other.pid}\n${dataDirectory}\n1\n${port}\n\n\n\nready\n`);
    }
    await (await startPostgres({ directory, port })).close();
    await deletePostgres(directory);
    await rm(directory, { recursive: true });
  },
);

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
