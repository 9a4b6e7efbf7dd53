import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const LOCK = 'postmaster.pid';
const SOCKET_LOCK = /^\.s\.PGSQL\.\d+\.lock$/;

/** Milliseconds after which a lock that is being made names its process. */
const WRITTEN = 5_000;

/** What `postmaster.pid` says: https://www.postgresql.org/docs/current/storage-file-layout.html */
export interface Postmaster {
  pid: number;
  port: number;
  ready: boolean;
}

/** The server that `postmaster.pid` names, if it is still running. */
export async function findPostmaster(dataDirectory: string): Promise<Postmaster | undefined> {
  const named = await readPostmaster(dataDirectory);
  return named && (await isPostgres(named.pid, dataDirectory)) ? named : undefined;
}

/** The server that `postmaster.pid` names, whether it is still running or not. */
export async function readPostmaster(dataDirectory: string): Promise<Postmaster | undefined> {
  const lines = await readLines(path.join(dataDirectory, LOCK)).catch(() => ['']);
  const pid = pidOf(lines);
  return pid === undefined ? undefined : { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' };
}

async function readLines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8');
  return text.split('\n');
}

function pidOf([line]: string[]): number | undefined {
  const pid = Number(line);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Asks a server to stop cleanly: a "fast shutdown". Windows has no signals, and Node would end the process at once; there,
 * PostgreSQL reads signal numbers from a pipe, as `pg_ctl` writes them.
 */
export function interruptPostgres(pid: number): void {
  if (process.platform !== 'win32') {
    process.kill(pid, 'SIGINT');
    return;
  }
  const pipe = connect(`\\\\.\\pipe\\pgsignal_${pid}`);
  pipe.on('error', () => {}); // the server is ending, or has ended: callers wait for that
  pipe.resume().write(Buffer.of(constants.signals.SIGINT));
}

/**
 * Resolves when the process has ended.
 * @param deadlineMs after which it resolves to false
 */
export async function hasEnded(pid: number, deadlineMs: number): Promise<boolean> {
  const deadline = performance.now() + deadlineMs;
  while (isRunning(pid) && !(await isZombie(pid))) {
    if (performance.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}

/**
 * Removes locks, on the data or a socket, that PostgreSQL itself would take for a running server's: the process is dead but not
 * yet reaped, or its id belongs to another program by now; or the machine stopped before it was written, and it names none, as
 * one does for a moment that is just being made. PostgreSQL itself removes the lock of a process that is gone.
 */
export async function removeStaleLocks(dataDirectory: string): Promise<void> {
  for (const name of await readdir(dataDirectory)) {
    if (name !== LOCK && !SOCKET_LOCK.test(name)) continue;
    const file = path.join(dataDirectory, name);
    const lines = await readLines(file).catch(() => undefined);
    if (!lines) continue; // it is removed already
    const pid = pidOf(lines);
    const isStale =
      pid === undefined
        ? !/\d/.test(lines[0] ?? '') && (await isOld(file)) // -1234 is a server without a postmaster, as initdb runs it
        : isRunning(pid) && !(await isPostgres(pid, dataDirectory));
    if (isStale) await rm(file, { force: true });
  }
}

/** Or from the future, by a clock that the loss of power has set back. */
async function isOld(file: string): Promise<boolean> {
  const info = await stat(file).catch(() => undefined);
  return info !== undefined && Math.abs(Date.now() - info.mtimeMs) > WRITTEN;
}

/** A process id proves nothing: after a crash it may be another program's. The server's working directory is its data's. */
async function isPostgres(pid: number, dataDirectory: string): Promise<boolean> {
  if (!isRunning(pid)) return false;
  if (process.platform === 'win32') return says('postgres', 'tasklist', '/nh', '/fi', `pid eq ${pid}`);
  if (process.platform !== 'linux') return says('postgres', 'ps', '-o', 'ucomm=', '-p', String(pid));
  const directory = await realpath(dataDirectory);
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  if (cwd !== undefined) return cwd === directory;
  // That of another account's process cannot be read, not even by root in a container; its command line can. Of a process that is
  // dead but not reaped, neither is there.
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return command.split('\0').includes(directory);
}

/** Whether a program prints this; true if it does not run. */
async function says(text: string, program: string, ...args: string[]): Promise<boolean> {
  const { stdout } = await promisify(execFile)(program, args).catch(() => ({ stdout: text }));
  return stdout.includes(text);
}

async function isZombie(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).startsWith('Z'); // the name in front may contain spaces
}
