import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { deletePostgres, startPostgres } from '../../local/postgres.ts';
import { dataDirectoryForRoot } from '../../local/postgres-data.ts';
import { hasEnded } from '../../local/postgres-process.ts';
import { readCredentials } from '../../local/stack.ts';
import { RUNTIMES } from '../../scripts/fork-host.ts';
import { PATIENCE } from '../database.ts';
import { makeData, ready, ROOT, startDev } from './start-dev.ts';

/** For what does not depend on the runtime: the last one starts fastest. */
const LIGHT = ['--runtime', Object.keys(RUNTIMES).at(-1) ?? ''];

const data = await makeData();

describe.skipIf(process.platform === 'win32')('the data of npm run dev', () => {
  it('starts once on the same data', async () => {
    const dev = startDev(data, ...LIGHT);
    await ready(dev);
    // What it has made holds passwords, and with --sql the values of parameters: for no other account to read.
    const made = (await readdir(data, { withFileTypes: true })).filter((file) => file.isFile() && file.name !== '.env');
    const modes = made.map(async ({ name }) => ((await stat(path.join(data, name))).mode & 0o77 ? [name] : []));
    expect((await Promise.all(modes)).flat()).toEqual([]);
    const second = startDev(data, ...LIGHT);
    expect(await second.exited).toBe(1);
    expect(second.output()).toMatch(/^Already running on this data: .*\n$/);
    dev.child.kill('SIGTERM');
    expect(await dev.exited).toBe(0);
  });

  it('chooses ports of its own beside another that starts at the same moment', async () => {
    const beside = path.join(data, 'beside');
    const both = [startDev(data, ...LIGHT), startDev(data, '--data', beside, ...LIGHT)];
    try {
      const [one, other] = await Promise.all(both.map(ready));
      expect(one).not.toBe(other);
    } finally {
      for (const { child } of both) child.kill('SIGINT');
      await Promise.all(both.map(({ exited }) => exited));
      await deletePostgres(beside);
    }
    expect(await Promise.all(both.map(({ exited }) => exited))).toEqual([0, 0]);
  });

  it.runIf(process.getuid?.() === 0)('as root makes no second database beside that of another account', async () => {
    const theirs = await mkdtemp(path.join(tmpdir(), 'theirs-'));
    await mkdir(path.join(theirs, 'postgres'));
    await writeFile(path.join(theirs, 'postgres/PG_VERSION'), '18\n');
    await writeFile(path.join(theirs, 'superuser-password'), 'theirs');
    const dev = startDev(data, '--data', theirs, ...LIGHT);
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toContain('holds the database of another account');
    await rm(theirs, { recursive: true });
  });

  it.skipIf(process.getuid?.() === 0).each(['', 'postgres'])(
    'says whose the data is whose %j it may not read',
    async (name) => {
      const theirs = await mkdtemp(path.join(tmpdir(), 'theirs-'));
      await mkdir(path.join(theirs, 'postgres'));
      await writeFile(path.join(theirs, 'postgres/PG_VERSION'), '18\n');
      await writeFile(path.join(theirs, 'superuser-password'), 'theirs');
      await chmod(path.join(theirs, name), 0);
      for (const options of [[], ['--reset']]) {
        const dev = startDev(data, '--data', theirs, ...LIGHT, ...options);
        expect(await dev.exited).toBe(1);
        expect(dev.output()).toBe(
          `${theirs} holds the database of another account: start as that account, or choose another directory.\n`,
        );
      }
      await chmod(path.join(theirs, name), 0o700);
      await rm(theirs, { recursive: true });
    },
  );

  it.runIf(process.getuid?.() === 0)("as root leaves a copy's original its database", async () => {
    const [original, copy] = [await mkdtemp(path.join(tmpdir(), 'original-')), path.join(data, 'copy')];
    const close = async (dev: ReturnType<typeof startDev>) => {
      await ready(dev);
      dev.child.kill('SIGTERM');
      expect(await dev.exited).toBe(0);
    };
    await close(startDev(data, '--data', original, ...LIGHT));
    await cp(original, copy, { recursive: true });
    const refused = startDev(data, '--data', copy, ...LIGHT);
    expect(await refused.exited).toBe(1);
    expect(refused.output()).toContain(`is a copy of ${original}`);
    await close(startDev(data, '--data', copy, ...LIGHT, '--reset'));
    const again = startDev(data, '--data', original, ...LIGHT);
    await close(again);
    expect(again.output()).not.toContain('Applying');
    for (const directory of [original, copy]) await deletePostgres(directory);
    await rm(original, { recursive: true });
  });

  it.each(['postgres/init.sql', 'postgres', 'postgres.log', 'credentials.json'])(
    'leaves alone the %s that it has not made',
    async (name) => {
      const theirs = await mkdtemp(path.join(tmpdir(), 'theirs-'));
      const file = path.join(theirs, name);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, 'select 1');
      for (const options of [['--reset'], [], ['--reset']]) {
        const dev = startDev(data, '--data', theirs, ...LIGHT, ...options);
        expect(await dev.exited).toBe(1);
        expect(dev.output()).toContain('belongs to something else');
      }
      expect(await readFile(file, 'utf8')).toBe('select 1');
      await rm(theirs, { recursive: true });
    },
  );

  it('deletes nothing of others, and nothing where the file that says where the data are is damaged', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'damaged-'));
    const theirs = path.join(directory, 'theirs/postgres');
    await mkdir(path.join(theirs, 'base'), { recursive: true });
    await expect(deletePostgres(path.dirname(theirs))).rejects.toThrow('belongs to something else');
    await writeFile(path.join(directory, 'superuser-password'), 'ours');
    for (const pointer of [theirs, `/var/lib/app/data-0123456789ab/../../../..${theirs}`]) {
      await writeFile(path.join(directory, 'postgres-data-path'), pointer);
      await expect(deletePostgres(directory)).rejects.toThrow('postgres-data-path is damaged');
    }
    expect(await readdir(theirs)).toEqual(['base']);
    await rm(directory, { recursive: true });
  });

  it('says so when the data are half deleted, and leaves the rest alone', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'half-'));
    const dataDirectory =
      process.getuid?.() === 0 ? await dataDirectoryForRoot(directory) : path.join(directory, 'postgres');
    await writeFile(path.join(directory, 'superuser-password'), 'ours');
    await mkdir(path.join(dataDirectory, 'base'), { recursive: true });
    await expect(startPostgres({ directory, port: 1 })).rejects.toThrow(
      `${dataDirectory} is no longer a whole database`,
    );
    expect(await readdir(dataDirectory)).toEqual(['base']);
    await deletePostgres(directory);
    await rm(directory, { recursive: true });
  });

  it('keeps the passwords that it makes out of the repository that they are in', async () => {
    const theirs = await mkdtemp(path.join(tmpdir(), 'theirs-'));
    const git = (...args: string[]) => execFileSync('git', args, { cwd: theirs, encoding: 'utf8' });
    git('init', '--quiet');
    await readCredentials(path.join(theirs, 'new/data'));
    expect(git('status', '--porcelain')).toBe('');
    await mkdir(path.join(theirs, 'old'));
    await readCredentials(path.join(theirs, 'old'));
    expect((await stat(path.join(theirs, 'old/credentials.json'))).mode & 0o777).toBe(0o600);
    expect(git('status', '--porcelain')).toBe('?? old/\n');
    await rm(theirs, { recursive: true });
  });

  it('removes what a first start that was killed had begun', async () => {
    const { pid: dead } = spawnSync(process.execPath, ['--version']);
    const directory = await mkdtemp(path.join(tmpdir(), 'begun-'));
    const name = (pid: number) => `postgres.initialising-${pid}`;
    await mkdir(path.join(directory, name(dead)));
    await writeFile(path.join(directory, `${name(dead)}.password`), 'secret');
    await mkdir(path.join(directory, name(process.pid)));
    await mkdir(path.join(directory, 'postgres.20261128'));
    await deletePostgres(directory);
    expect(await readdir(directory)).toEqual(['postgres.20261128', name(process.pid)]);
    await rm(directory, { recursive: true });
  });

  it('leaves no server behind when it ends just as it has started one', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'ends-'));
    const script = `
      import childProcess from 'node:child_process';
      import { syncBuiltinESMExports } from 'node:module';
      const { spawn } = childProcess;
      childProcess.spawn = (file, args, options) => {
        const child = spawn(file, args, options);
        if (args.includes('-D')) {
          console.log(child.pid);
          setImmediate(() => process.exit());
        }
        return child;
      };
      syncBuiltinESMExports();
      const { startPostgres } = await import('./local/postgres.ts');
      await startPostgres({ directory: process.argv[1], port: Number(process.argv[2]) });`;
    const args = ['--input-type=module', '-e', script, directory, String(await anyFreePort())];
    const server = Number(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' }));
    expect(await hasEnded(server, PATIENCE)).toBe(true);
    await deletePostgres(directory);
    await rm(directory, { recursive: true });
  });
});
