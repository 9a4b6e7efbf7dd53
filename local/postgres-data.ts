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

/** The server's files; where they are when they are not here; the superuser's password. */
export const DATA = 'postgres';
const POINTER = 'postgres-data-path';
const PASSWORD = 'superuser-password';

/** What the server says. */
export const LOG = 'postgres.log';

/** A folder of server files in the `ROOT_STORE` of a project of any name. */
const IN_A_STORE = /^\/var\/lib\/[a-z][a-z0-9-]*\/data-[0-9a-f]{12}\/postgres$/;

/** Beside the data that are elsewhere: whose they are. */
const OWNER = 'belongs-to';

const readText = (file: string) => readFile(file, 'utf8').catch(() => undefined);

/** Where the data are that are not here, and whose: not this directory's, when it is a copy of one that is still there. */
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

/** Where a directory's own data are, or would be. */
export async function findDataDirectory(directory: string): Promise<string> {
  const elsewhere = await readPointer(directory);
  return elsewhere && !elsewhere.isCopy ? elsewhere.pointer : path.join(directory, DATA);
}

/**
 * Below names that others give to files and folders, too, there may be anything.
 * @throws {Error} when there is something that is not this stack's
 */
export async function assertOurs(directory: string): Promise<void> {
  if (existsSync(path.join(directory, PASSWORD))) return;
  for (const name of [DATA, LOG]) {
    const files = await readdir(path.join(directory, name)).catch((error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' ? [] : [name],
    );
    if (files.length === 0) continue;
    throw new Error(`${path.join(directory, name)} is something else's: choose another directory with --data.`);
  }
}

/**
 * The account that runs the server cannot enter root's directories: the data is kept elsewhere, a file says where.
 * @throws {Error} when another account has a database there, or another directory the data that a file says are this one's:
 *   a second database, empty, would look like a loss
 */
export async function dataDirectoryForRoot(directory: string): Promise<string> {
  if (await isInitialised(path.join(directory, DATA))) {
    throw new Error(
      `${directory} holds the database of another account: start as that account, or choose another directory.`,
    );
  }
  const elsewhere = await readPointer(directory);
  if (elsewhere?.isCopy) {
    throw new Error(
      `${directory} is a copy of ${elsewhere.owner}, whose database stays where it is: --reset starts this one with its own.`,
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

/** Removes what `initialise` had begun when its process was killed. */
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
    if (!(await isInitialised(dataDirectory))) throw explain(error as Error, `${binaries.initdb} ${temporary}`);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(temporary, { recursive: true, force: true });
  }
}

/** It names its files in SQL, which is UTF-8, as Windows encodes their names, which is not. */
function explain(error: Error, paths: string): Error {
  if (process.platform !== 'win32' || !/[^ -~]/.test(paths)) return error;
  const remedy = 'On Windows PostgreSQL wants paths of ASCII characters: move this project, to C:\\dev for instance.';
  return new Error(`${error.message.trim()}\n${remedy}`, { cause: error });
}
