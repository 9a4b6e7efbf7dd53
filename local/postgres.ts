import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { assertRuns, copyBinariesForRoot, findBinaries } from './postgres-binaries.ts';
import { LOCAL_CLIENT } from './pg-client.ts';
import {
  DATA,
  assertOurs,
  dataDirectoryForRoot,
  findDataDirectory,
  initialise,
  isInitialised,
  LOG,
  removeData,
  superuserPassword,
} from './postgres-data.ts';
import { assertNotOwned, HOST, holdLock, STOP_DEADLINE, SUPERUSER, takeOver } from './postgres-owner.ts';
import { socketPath } from './postgres-messages.ts';
import { interruptPostgres, readPostmaster } from './postgres-process.ts';

export interface PostgresOptions {
  /** Everything is kept below it: created if missing. */
  directory: string;
  port: number;
  /** Server settings (`postgresql.conf`), added to this file's own. */
  settings?: Record<string, string> | undefined;
}

export interface Postgres {
  port: number;
  /** Where the server keeps its files. Not below `directory` when this process is root. */
  dataDirectory: string;
  /** What it logs, since this start. */
  logFile: string;
  /** Where its Unix socket is, if it has one: cheaper than TCP at both ends. Only this account can reach it. */
  socketDirectory: string | undefined;
  /** For this stack's own use: the gateway lets no superuser in. */
  superuserUrl: string;
  /** Connects as the superuser. */
  connect(): Promise<pg.Client>;
  /** Resolves when the server has ended, for whatever reason. */
  ended: Promise<unknown>;
  /** Stops the server. Idempotent. */
  close(): Promise<void>;
}

/** `nobody` exists on every Unix; PostgreSQL needs an account that has a passwd entry. */
const ROOT_RUNS_AS = 'nobody';

/**
 * Starts PostgreSQL on loopback, on a data directory of its own: created on the first start, recovered after a crash. The
 * server stops with this process, however it ends.
 * @throws {Error} when another process runs on the same directory
 * @throws {Error} when something else is where its data would be
 */
export async function startPostgres({ directory: given, port, settings = {} }: PostgresOptions): Promise<Postgres> {
  await mkdir(given, { recursive: true, mode: 0o700 });
  const directory = await realpath(given);
  await assertOurs(directory);
  const account = await serverAccount();
  const binaries = account ? await copyBinariesForRoot(await findBinaries()) : await findBinaries();
  const dataDirectory = account ? await dataDirectoryForRoot(directory) : path.join(directory, DATA);
  const socketDirectory = canHoldSocket(dataDirectory, port) ? dataDirectory : undefined;
  const password = await superuserPassword(directory);
  const run = { ...account, cwd: account ? '/' : directory, env: serverEnvironment() };

  if (!(await isInitialised(dataDirectory))) {
    await assertRuns(binaries, run);
    await initialise(binaries, dataDirectory, password, run);
  }
  await takeOver(dataDirectory, password);

  const flags = Object.entries({
    listen_addresses: HOST,
    port: String(port),
    max_connections: '600', // 500 WebSockets, and everything else
    timezone: 'GMT', // the server's own default, as at a provider; initdb sets this machine's
    unix_socket_directories: socketDirectory === undefined ? '' : '.', // the data directory
    ...settings,
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const logFile = path.join(directory, LOG);
  const log = await open(logFile, 'w', 0o600);
  // Detached: Ctrl-C in a terminal reaches this process first, which then stops the server cleanly. On Windows, a detached
  // program has no console, and each process that it starts opens one: a window per connection.
  const server = spawn(binaries.postgres, ['-D', dataDirectory, ...flags], {
    ...run,
    detached: process.platform !== 'win32',
    stdio: ['ignore', log.fd, log.fd],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  // Before anything is awaited: this process may end at any moment.
  const watchdog = server.pid === undefined ? undefined : startWatchdog(server.pid);
  server.once('exit', () => watchdog?.kill('SIGKILL')); // its process id may soon be another process's
  await once(server, 'spawn');
  await log.close();

  const superuserUrl = `postgresql://${SUPERUSER}:${password}@${HOST}:${port}/postgres`;
  const connect = async () => {
    const client = new pg.Client({ ...LOCAL_CLIENT, connectionString: superuserUrl });
    client.on('error', () => {}); // the server stopped: users of the client learn that from their queries
    await client.connect();
    return client;
  };

  let closing: Promise<void> | undefined;
  const isUp = () => server.exitCode === null && server.signalCode === null;
  const stop = async () => {
    if (!isUp() || server.pid === undefined) return;
    interruptPostgres(server.pid);
    const tooLong = setTimeout(() => server.kill('SIGQUIT'), STOP_DEADLINE);
    await ended;
    clearTimeout(tooLong);
  };
  const close = () => (closing ??= stop());

  try {
    await untilReady(server, dataDirectory, logFile);
    await holdLock(connect, () => closing === undefined && isUp());
  } catch (error) {
    await close();
    throw error;
  }
  return { port, dataDirectory, logFile, socketDirectory, superuserUrl, connect, ended, close };
}

/** @throws {Error} when a process runs on this directory */
export async function assertNotRunning(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  await assertOurs(directory);
  const dataDirectory = await findDataDirectory(directory);
  if (await isInitialised(dataDirectory)) await assertNotOwned(dataDirectory, await superuserPassword(directory));
}

/** Below a directory: that of its replica, if it ever had one. */
export const REPLICA = 'replica';

/**
 * Deletes everything that `startPostgres` keeps for a directory, and for that of its replica.
 * @throws {Error} when a process runs on it
 * @throws {Error} when something else is where its data would be
 */
export async function deletePostgres(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  await assertOurs(directory);
  const dataDirectory = await findDataDirectory(directory);
  if (await isInitialised(dataDirectory)) await takeOver(dataDirectory, await superuserPassword(directory));
  await deletePostgres(path.join(directory, REPLICA));
  await removeData(directory);
  await rm(path.join(directory, LOG), { force: true });
}

/** A socket's path is limited: 104 bytes on macOS, 108 on Linux, including the NUL. Node cannot use one on Windows. */
function canHoldSocket(directory: string, port: number): boolean {
  return process.platform !== 'win32' && Buffer.byteLength(socketPath(directory, port)) < 104;
}

/** The account to run the server as, when this process is root, which PostgreSQL refuses to be. */
async function serverAccount(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile('/etc/passwd', 'utf8');
  const entry = passwd.split('\n').find((line) => line.startsWith(`${ROOT_RUNS_AS}:`));
  const [, , uid, gid] = entry?.split(':') ?? [];
  if (!uid || !gid)
    throw new Error(`PostgreSQL does not run as root, and there is no account "${ROOT_RUNS_AS}" to run it as.`);
  return { uid: Number(uid) | 0, gid: Number(gid) | 0 }; // -2 on macOS, elsewhere 4294967294: spawn takes signed numbers
}

/** None of the user's PostgreSQL settings (PGDATA, PGPORT …) may reach this server. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env }; // a copy, to be of this type, which requires a variable in a Next.js project
  for (const name of Object.keys(environment)) if (name.startsWith('PG')) Reflect.deleteProperty(environment, name);
  return environment;
}

/** PostgreSQL does not notice when its parent is killed. This second process does: its standard input ends. */
function startWatchdog(pid: number): ChildProcess {
  const script = `const kill = (signal) => { try { process.kill(${pid}, signal) } catch { process.exit() } };
    process.stdin.resume().on('end', () => {
      kill('SIGINT');
      setInterval(kill, 50, 0); // until it has ended
      setTimeout(() => { kill('SIGQUIT'); process.exit() }, ${STOP_DEADLINE});
    })`;
  const watchdog = spawn(process.execPath, ['-e', script], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  watchdog.unref();
  (watchdog.stdin as { unref?: () => void } | null)?.unref?.();
  return watchdog;
}

async function untilReady(server: ChildProcess, dataDirectory: string, log: string): Promise<void> {
  for (;;) {
    const named = await readPostmaster(dataDirectory);
    if (named?.pid === server.pid && named?.ready) return;
    if (server.exitCode !== null || server.signalCode !== null) {
      throw new Error(`PostgreSQL did not start:\n${(await readFile(log, 'utf8')).trim()}`);
    }
    await sleep(5);
  }
}
