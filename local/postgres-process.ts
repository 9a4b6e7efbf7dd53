import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const LOCK = 'postmaster.pid';
const SOCKET_LOCK = /^\.s\.PGSQL\.\d+\.lock$/;

/** What `postmaster.pid` says: https://www.postgresql.org/docs/current/storage-file-layout.html */
export interface Postmaster {
  pid: number;
  port: number;
  ready: boolean;
}

/** The server that `postmaster.pid` names, if it still runs. */
export async function findPostmaster(dataDirectory: string): Promise<Postmaster | undefined> {
  const named = await readPostmaster(dataDirectory);
  return named && (await isPostgres(named.pid, dataDirectory)) ? named : undefined;
}

/** The server that `postmaster.pid` names, whether it still runs or not. */
export async function readPostmaster(dataDirectory: string): Promise<Postmaster | undefined> {
  const lines = await readLines(path.join(dataDirectory, LOCK));
  const pid = pidOf(lines);
  return pid === undefined ? undefined : { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' };
}

async function readLines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
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
 * Asks a server to stop in order: a "fast shutdown". Windows has no signals, and Node would end the process at once; there
 * PostgreSQL reads their numbers from a pipe, as `pg_ctl` writes them.
 */
export function interruptPostgres(pid: number): void {
  if (process.platform !== 'win32') {
    process.kill(pid, 'SIGINT');
    return;
  }
  const pipe = connect(`\\\\.\\pipe\\pgsignal_${pid}`);
  pipe.on('error', () => {}); // it ends, or has ended: whoever asks waits for that
  pipe.resume().write(Buffer.of(constants.signals.SIGINT));
}

/**
 * Resolves when the process has ended.
 * @param deadlineMs after which it answers false
 */
export async function hasEnded(pid: number, deadlineMs: number): Promise<boolean> {
  const deadline = Date.now() + deadlineMs;
  while (isRunning(pid) && !(await isZombie(pid))) {
    if (Date.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}

/**
 * Removes locks, on the data or a socket, that PostgreSQL itself would take for a living server's: its process is dead but not yet
 * reaped, or its number belongs to another program by now. A lock of a process that is gone PostgreSQL removes itself.
 */
export async function removeStaleLocks(dataDirectory: string): Promise<void> {
  for (const name of await readdir(dataDirectory)) {
    if (name !== LOCK && !SOCKET_LOCK.test(name)) continue;
    const file = path.join(dataDirectory, name);
    const pid = pidOf(await readLines(file));
    if (pid !== undefined && isRunning(pid) && !(await isPostgres(pid, dataDirectory))) await rm(file, { force: true });
  }
}

/** A number alone proves nothing: after a crash it may belong to another program. The server works in its data directory. */
async function isPostgres(pid: number, dataDirectory: string): Promise<boolean> {
  if (!isRunning(pid)) return false;
  if (process.platform === 'win32') return says('postgres', 'tasklist', '/nh', '/fi', `pid eq ${pid}`);
  if (process.platform !== 'linux') return says('postgres', 'ps', '-o', 'ucomm=', '-p', String(pid));
  if (await isZombie(pid)) return false;
  const directory = await realpath(dataDirectory);
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  if (cwd !== undefined) return cwd === directory;
  // Of another account's process it cannot be read, not even by root in a container; what it was started with can.
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return command.split('\0').includes(directory);
}

/** Whether a program says this; where it does not run, it might have. */
async function says(text: string, program: string, ...args: string[]): Promise<boolean> {
  const { stdout } = await promisify(execFile)(program, args).catch(() => ({ stdout: text }));
  return stdout.includes(text);
}

async function isZombie(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).startsWith('Z'); // the name in front may hold spaces
}
