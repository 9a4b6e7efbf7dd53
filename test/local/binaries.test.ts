import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { assertRuns, copyBinariesForRoot, findBinaries, ROOT_STORE } from '../../local/postgres-binaries.ts';
import { initialise } from '../../local/postgres-data.ts';

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
    await expect(assertRuns(bare)).rejects.toThrow(/librar[^]*--ignore-scripts=false/i);
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
      'wants paths of ASCII characters',
    );
    await expect(initialise(bare, data, 'secret', run)).rejects.not.toThrow('ASCII');
  });

  it('are named with the account that they may not run as', async () => {
    // No account has this number: neither root nor another may become it.
    await expect(assertRuns(await findBinaries(), { uid: -1, gid: -1 })).rejects.toThrow(
      'start as an account that is not root',
    );
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
