import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { createOnce } from './create-once.ts';
import { type Binaries, makeOpenDirectory, ROOT_STORE } from './postgres-binaries.ts';
import { SUPERUSER } from './postgres-owner.ts';
import { isRunning } from './postgres-process.ts';

/** How the server's programs are run. */
export type RunOptions = { uid?: number; gid?: number; cwd: string; env: NodeJS.ProcessEnv };

/** The server's files; where they are if they are not here; the superuser's password. */
export const DATA = 'postgres';
const POINTER = 'postgres-data-path';
const PASSWORD = 'superuser-password';

/** What the server logs. */
export const LOG = 'postgres.log';

/** A folder of server files in the `ROOT_STORE` of a project of any name. */
const IN_A_STORE = /^\/var\/lib\/[a-z][a-z0-9-]*\/data-[0-9a-f]{12}\/postgres$/;

/** Next to data that is kept elsewhere: whose it is. */
const OWNER = 'belongs-to';

const readText = (file: string) => readFile(file, 'utf8').catch(() => undefined);

/** Where data that is not here is kept, and whose it is: not this directory's, if that is a copy of one that still exists. */
async function readPointer(directory: string) {
  const file = path.join(directory, POINTER);
  const pointer = await readText(file);
  if (pointer === undefined) return undefined;
  // The project may have had another name when it was written.
  if (!IN_A_STORE.test(pointer)) throw new Error(`${file} is damaged: delete it, and start again.`);
  const owner = (await readText(path.join(path.dirname(pointer), OWNER)))?.replace(/\n$/, '') ?? directory;
  const [here, there] = await Promise.all(
    [file, path.join(owner, POINTER)].map((name) => stat(name).catch(() => undefined)),
  );
  const isOther = there !== undefined && (here?.ino !== there.ino || here.dev !== there.dev);
  return { pointer, owner, isCopy: isOther && (await readText(path.join(owner, POINTER))) === pointer };
}

/** Where a directory's own data is, or would be. */
export async function findDataDirectory(directory: string): Promise<string> {
  const elsewhere = await readPointer(directory);
  return elsewhere && !elsewhere.isCopy ? elsewhere.pointer : path.join(directory, DATA);
}

/**
 * Others use the same names for files and folders: anything may be there.
 * @throws {Error} when there is something that is not this stack's
 */
export async function assertOurs(directory: string): Promise<void> {
  if (existsSync(path.join(directory, PASSWORD))) return;
  for (const name of [DATA, LOG]) {
    const files = await readdir(path.join(directory, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES') throw new Error(anotherAccounts(directory), { cause: error });
      return error.code === 'ENOENT' ? [] : [name];
    });
    if (files.length === 0) continue;
    throw new Error(`${path.join(directory, name)} belongs to something else: choose another directory with --data.`);
  }
}

const anotherAccounts = (directory: string) =>
  `${directory} holds the database of another account: start as that account, or choose another directory.`;

/**
 * The account that runs the server cannot enter root's directories: the data is kept elsewhere, and a file says where.
 * @throws {Error} when another account has a database there, or the data that the file points to belongs to another directory:
 *   a second, empty database would look like data loss
 */
export async function dataDirectoryForRoot(directory: string): Promise<string> {
  if (await isInitialised(path.join(directory, DATA))) {
    throw new Error(anotherAccounts(directory));
  }
  const elsewhere = await readPointer(directory);
  if (elsewhere?.isCopy) {
    throw new Error(
      `${directory} is a copy of ${elsewhere.owner}, whose database stays where it is: --reset gives this one its own.`,
    );
  }
  const fresh = path.join(ROOT_STORE, `data-${randomBytes(6).toString('hex')}`, DATA);
  const dataDirectory = await createOnce(path.join(directory, POINTER), fresh);
  const parent = path.dirname(dataDirectory);
  await makeOpenDirectory(parent);
  await writeFile(path.join(parent, OWNER), `${directory}\n`);
  return dataDirectory;
}

/** Removes the data directory and everything that belongs to it. */
export async function removeData(directory: string): Promise<void> {
  const dataDirectory = await findDataDirectory(directory);
  const here = path.join(directory, DATA);
  await rm(dataDirectory === here ? here : path.dirname(dataDirectory), { recursive: true, force: true });
  await removeAbandoned(here);
  for (const name of [POINTER, PASSWORD]) await rm(path.join(directory, name), { force: true });
}

/** Removes what an `initialise` left behind whose process was killed. */
async function removeAbandoned(dataDirectory: string): Promise<void> {
  const parent = path.dirname(dataDirectory);
  for (const name of await readdir(parent).catch(() => [])) {
    const pid = /^postgres\.initialising-(\d+)(\.password)?$/.exec(name)?.[1];
    if (pid && !isRunning(Number(pid))) await rm(path.join(parent, name), { recursive: true, force: true });
  }
}

export function superuserPassword(directory: string): Promise<string> {
  return createOnce(path.join(directory, PASSWORD), randomBytes(24).toString('hex'));
}

/** @throws {Error} when this account may not read it: it is another's */
export async function isInitialised(dataDirectory: string): Promise<boolean> {
  return readFile(path.join(dataDirectory, 'PG_VERSION')).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES') throw new Error(anotherAccounts(path.dirname(dataDirectory)), { cause: error });
      return false;
    },
  );
}

/** Prepares, and returns, the directory for a copy of another server's files. @param password that server's superuser's */
export async function prepareData(directory: string, password: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await createOnce(path.join(directory, PASSWORD), password);
  const dataDirectory = process.getuid?.() === 0 ? await dataDirectoryForRoot(directory) : path.join(directory, DATA);
  await mkdir(dataDirectory, { mode: 0o700 });
  return dataDirectory;
}

/** Creates the data directory under another name and moves it into place complete: of two first starts, one wins. */
export async function initialise(
  binaries: Binaries,
  dataDirectory: string,
  password: string,
  run: RunOptions,
): Promise<void> {
  const temporary = `${dataDirectory}.initialising-${process.pid}`;
  const passwordFile = `${temporary}.password`;
  await removeAbandoned(dataDirectory);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  try {
    if (run.uid !== undefined && run.gid !== undefined) {
      for (const file of [temporary, passwordFile]) await chown(file, run.uid >>> 0, run.gid >>> 0);
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
    if (await isInitialised(dataDirectory)) return;
    const remains = await readdir(dataDirectory).catch(() => []);
    if (remains.length > 0)
      throw new Error(`${dataDirectory} is no longer a whole database: restore or delete it.`, { cause: error });
    throw explain(error as Error, `${binaries.initdb} ${temporary}`);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(temporary, { recursive: true, force: true });
  }
}

/** PostgreSQL puts file names into SQL, which is UTF-8, in the encoding that Windows uses for them, which is not. */
function explain(error: Error, paths: string): Error {
  if (process.platform !== 'win32' || !/[^ -~]/.test(paths)) return error;
  const remedy =
    'On Windows, PostgreSQL needs paths with only ASCII characters: move this project, for instance to C:\\dev.';
  return new Error(`${error.message.trim()}\n${remedy}`, { cause: error });
}
