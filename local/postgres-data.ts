import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { createOnce } from './create-once.ts';
import { type Binaries, ROOT_STORE } from './postgres-binaries.ts';
import { SUPERUSER } from './postgres-owner.ts';

/** How the server's programs are run. */
export type RunOptions = { uid?: number; gid?: number; cwd: string; env: NodeJS.ProcessEnv };

/** The server's files; where they are when they are not here; the superuser's password. */
export const DATA = 'postgres';
const POINTER = 'postgres-data-path';
const PASSWORD = 'superuser-password';

async function readPointer(directory: string): Promise<string | undefined> {
  return readFile(path.join(directory, POINTER), 'utf8').catch(() => undefined);
}

export async function findDataDirectory(directory: string): Promise<string> {
  return (await readPointer(directory)) ?? path.join(directory, DATA);
}

/**
 * The account that runs the server cannot enter root's directories: the data is kept elsewhere, a file says where.
 * @throws {Error} when another account has a database there: a second one, empty, would look like a loss
 */
export async function dataDirectoryForRoot(directory: string): Promise<string> {
  if (await isInitialised(path.join(directory, DATA))) {
    throw new Error(
      `${directory} holds the database of another account: start as that account, or choose another directory.`,
    );
  }
  const fresh = path.join(ROOT_STORE, `data-${randomBytes(6).toString('hex')}`, DATA);
  const dataDirectory = await createOnce(path.join(directory, POINTER), fresh);
  const parent = path.dirname(dataDirectory);
  await mkdir(parent, { recursive: true, mode: 0o755 });
  await writeFile(path.join(parent, 'belongs-to'), `${directory}\n`); // for a person who finds it
  return dataDirectory;
}

/** Removes the data directory and everything that belongs to it. */
export async function removeData(directory: string): Promise<void> {
  const pointer = await readPointer(directory);
  if (pointer) await rm(path.dirname(pointer), { recursive: true, force: true });
  for (const name of [DATA, POINTER, PASSWORD]) await rm(path.join(directory, name), { recursive: true, force: true });
}

export function superuserPassword(directory: string): Promise<string> {
  return createOnce(path.join(directory, PASSWORD), randomBytes(24).toString('hex'));
}

export async function isInitialised(dataDirectory: string): Promise<boolean> {
  return readFile(path.join(dataDirectory, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
}

/** Where a server's files are to be put that another server's copy is made of. @param password the other server's superuser's */
export async function prepareData(directory: string, password: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await createOnce(path.join(directory, PASSWORD), password);
  const dataDirectory = process.getuid?.() === 0 ? await dataDirectoryForRoot(directory) : path.join(directory, DATA);
  await mkdir(dataDirectory, { mode: 0o700 });
  return dataDirectory;
}

/** Makes the data directory under another name and moves it into place whole: of two first starts one wins. */
export async function initialise(
  binaries: Binaries,
  dataDirectory: string,
  password: string,
  run: RunOptions,
): Promise<void> {
  const temporary = `${dataDirectory}.${process.pid}`;
  const passwordFile = `${temporary}.password`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  try {
    if (run.uid !== undefined && run.gid !== undefined) {
      for (const file of [temporary, passwordFile]) await chown(file, run.uid, run.gid);
    }
    const options = [
      '--username',
      SUPERUSER,
      '--pwfile',
      passwordFile,
      '--auth',
      'scram-sha-256',
      '--encoding',
      'UTF8',
    ];
    // C.UTF-8 from PostgreSQL itself: the same order of strings on every operating system.
    const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'];
    await promisify(execFile)(binaries.initdb, ['-D', temporary, '--no-sync', ...options, ...locale], run);
    await rename(temporary, dataDirectory);
  } catch (error) {
    if (!(await isInitialised(dataDirectory))) throw error;
  } finally {
    await rm(passwordFile, { force: true });
    await rm(temporary, { recursive: true, force: true });
  }
}
