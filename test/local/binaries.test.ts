import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  assertRuns,
  copyBinariesForRoot,
  findBinaries,
  makeOpenDirectory,
  ROOT_STORE,
} from '../../local/postgres-binaries.ts';
import { initialise } from '../../local/postgres-data.ts';

const modeOf = async (file: string) => ((await stat(file)).mode & 0o777).toString(8);

describe.skipIf(process.platform === 'win32')('programs of PostgreSQL that do not run', () => {
  let directory: string;
  /** Without the libraries, as its package is before its install script has run. */
  let bare: { initdb: string; postgres: string };

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'binaries-'));
    const bin = path.join(directory, 'native/bin');
    await mkdir(bin, { recursive: true });
    bare = { initdb: path.join(bin, 'initdb'), postgres: path.join(bin, 'postgres') };
    await copyFile((await findBinaries()).initdb, bare.initdb);
    await writeFile(path.join(directory, 'package.json'), '{"version":"0.0.0-bare"}');
  });

  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('are named with the install script that has not run', async () => {
    await expect(assertRuns(bare)).rejects.toThrow(/run here: (?!Command)[^]*librar[^]*--ignore-scripts=false/i);
  });

  it.runIf(process.getuid?.() === 0)('are not kept for root', async () => {
    await expect(copyBinariesForRoot(bare)).rejects.toThrow('--ignore-scripts=false');
    expect((await readdir(ROOT_STORE)).filter((name) => name.includes('0.0.0-bare'))).toEqual([]);
  });

  it('are named with the C library that is not there', async () => {
    const initdb = path.join(directory, 'initdb');
    await writeFile(initdb, '#!/lib64/no-such-loader\n');
    await chmod(initdb, 0o755);
    await expect(assertRuns({ ...bare, initdb })).rejects.toThrow(/ENOENT\nIt needs glibc/);
  });

  it('are named with the path that they do not take on Windows', async () => {
    const { platform } = process;
    onTestFinished(() => void Object.defineProperty(process, 'platform', { value: platform }));
    Object.defineProperty(process, 'platform', { value: 'win32' });
    const data = path.join(directory, 'data');
    const run = { cwd: directory, env: {} };
    await mkdir(path.join(directory, 'Zoë'));
    const initdb = path.join(directory, 'Zoë/initdb');
    await copyFile(bare.initdb, initdb);
    await expect(initialise({ ...bare, initdb }, data, 'secret', run)).rejects.toThrow(
      'needs paths with only ASCII characters',
    );
    await expect(initialise(bare, data, 'secret', run)).rejects.not.toThrow('ASCII');
  });

  it('are named with the account that they may not run as', async () => {
    // No account has this number: neither root nor another may become it.
    await expect(assertRuns(await findBinaries(), { uid: -1, gid: -1 })).rejects.toThrow('start as a non-root account');
  });
});

it.skipIf(process.platform === 'win32')('a directory is open to every account, whatever the umask', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'open-')); // for its owner alone
  await makeOpenDirectory(directory);
  expect(await modeOf(directory)).toBe('755');
  await rm(directory, { recursive: true });
});

describe.runIf(process.getuid?.() === 0)('the copy for an account other than root', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'copy-'));
  });
  const copies = async () => (await readdir(ROOT_STORE)).filter((name) => name.startsWith('postgresql-0.0.0-copy'));
  afterAll(async () => {
    for (const name of [directory, ...(await copies())])
      await rm(path.resolve(ROOT_STORE, name), { recursive: true, force: true });
  });

  /** A package with programs that only root can read. */
  const pack = async (version: string, script: string) => {
    const native = path.join(directory, version, 'native');
    for (const folder of ['bin', 'lib']) await mkdir(path.join(native, folder), { recursive: true, mode: 0o700 });
    const [initdb, postgres] = [path.join(native, 'bin/initdb'), path.join(native, 'bin/postgres')];
    for (const program of [initdb, postgres]) await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
    for (const name of ['libpq.so.5', 'libpq.a']) await writeFile(path.join(native, 'lib', name), '', { mode: 0o600 });
    await symlink('libpq.so.5', path.join(native, 'lib/libpq.so'));
    await symlink('nowhere', path.join(native, 'lib/dangling'));
    await writeFile(path.join(directory, version, 'package.json'), JSON.stringify({ version }));
    return { initdb, postgres };
  };

  it('is whole, readable by all, and made once', async () => {
    const copy = path.join(ROOT_STORE, 'postgresql-0.0.0-copy');
    const [dead, living] = [`${copy}.${spawnSync('true').pid}`, `${copy}.${process.ppid}`];
    for (const partial of [dead, living]) await mkdir(partial);
    const binaries = await pack('0.0.0-copy', 'exit 0');
    const copied = await copyBinariesForRoot(binaries);
    expect(copied).toEqual({ initdb: path.join(copy, 'bin/initdb'), postgres: path.join(copy, 'bin/postgres') });
    expect((await readdir(path.join(copy, 'lib'))).toSorted()).toEqual(['dangling', 'libpq.so', 'libpq.so.5']);
    expect(await readlink(path.join(copy, 'lib/libpq.so'))).toBe('libpq.so.5');
    const modes = await Promise.all(
      ['', 'bin', 'bin/postgres', 'lib/libpq.so.5'].map((name) => modeOf(path.join(copy, name))),
    );
    expect(modes).toEqual(['755', '755', '755', '644']);
    expect((await copies()).toSorted()).toEqual([copy, living].map((name) => path.basename(name)));

    await rm(binaries.initdb); // nobody asks it again
    expect(await copyBinariesForRoot(binaries)).toEqual(copied);
  });

  it('is that of another process which was faster', async () => {
    const other = path.join(ROOT_STORE, 'postgresql-0.0.0-copy-faster/bin');
    await copyBinariesForRoot(await pack('0.0.0-copy-faster', `mkdir -p ${other} && touch ${other}/of-another`));
    expect(await readdir(other)).toEqual(['of-another']);
    expect((await copies()).filter((name) => name.includes('faster'))).toEqual(['postgresql-0.0.0-copy-faster']);
  });
});

it.runIf(process.getuid?.() === 0 && process.platform === 'linux')(
  'the number of an account may be -2, as that of "nobody" on macOS',
  async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'account-'));
    await chmod(directory, 0o755);
    const run = { uid: -2, gid: -2, cwd: '/', env: {} };
    const initialised = initialise(
      await copyBinariesForRoot(await findBinaries()),
      path.join(directory, 'data'),
      'secret',
      run,
    );
    // Linux has none of this number: the program runs, and says so.
    await expect(initialised).rejects.toThrow('could not look up effective user ID 4294967294');
    expect(await readdir(directory)).toEqual([]);
    await rm(directory, { recursive: true });
  },
);
