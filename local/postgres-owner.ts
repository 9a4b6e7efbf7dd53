import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { LOCAL_CLIENT } from './pg-client.ts';
import { findPostmaster, hasEnded, interruptPostgres, removeStaleLocks } from './postgres-process.ts';

export const SUPERUSER = 'postgres';
export const HOST = '127.0.0.1';

/** Held by the process that started the server, as long as it lives: "edge" in ASCII. */
const OWNER_LOCK = 0x65646765;

/**
 * Marks the server as owned by this process. If one of its sessions crashes, the server ends the others, and goes on: then the
 * lock is taken again.
 * @param isUp whether the server has not ended and is not meant to
 */
export async function holdLock(connect: () => Promise<pg.Client>, isUp: () => boolean): Promise<void> {
  const client = await connect();
  const lost = new Promise((resolve) => client.once('end', resolve));
  await client.query('select pg_advisory_lock($1)', [OWNER_LOCK]);
  void lost.then(() => holdAgain(connect, isUp));
}

async function holdAgain(connect: () => Promise<pg.Client>, isUp: () => boolean): Promise<void> {
  while (isUp()) {
    try {
      return await holdLock(connect, isUp);
    } catch {
      await sleep(50);
    }
  }
}

/**
 * Milliseconds after which a server that was asked to stop cleanly ("fast shutdown", SIGINT) is stopped at once (SIGQUIT),
 * which loses nothing either. PostgreSQL 18 never ends if it is asked to while it recovers from the crash of a session.
 */
export const STOP_DEADLINE = 5_000;

/** Stops a server that an earlier process left behind. */
export async function takeOver(dataDirectory: string, password: string): Promise<void> {
  await assertNotOwned(dataDirectory, password);
  const postmaster = await findPostmaster(dataDirectory);
  if (postmaster) {
    interruptPostgres(postmaster.pid);
    if (!(await hasEnded(postmaster.pid, STOP_DEADLINE))) process.kill(postmaster.pid, 'SIGQUIT');
    await hasEnded(postmaster.pid, STOP_DEADLINE);
  }
  await removeStaleLocks(dataDirectory);
}

/** Milliseconds that a server may take to recover from a crash, or to stop, before it counts as owned. */
const ANSWER_DEADLINE = 30_000;

/** How often in a row a server's lock must be free: a process that has just started the server has not taken it yet. */
const TIMES_FREE = 4;

/**
 * The process that started the server holds a lock on a connection as long as it lives.
 * @throws {Error} when that process is alive
 */
export async function assertNotOwned(dataDirectory: string, password: string): Promise<void> {
  const deadline = performance.now() + ANSWER_DEADLINE;
  for (let free = 0; free < TIMES_FREE; await sleep(150)) {
    const postmaster = await findPostmaster(dataDirectory);
    if (!postmaster) return;
    const lock = postmaster.ready ? await readLock(postmaster.port, password) : 'unknown';
    if (lock === 'held' || (lock === 'unknown' && performance.now() > deadline)) {
      throw new Error(
        `Already running on this data: PostgreSQL is process ${postmaster.pid}. Stop what started it, or use another directory.`,
      );
    }
    free = lock === 'free' ? free + 1 : 0;
  }
}

async function readLock(port: number, password: string): Promise<'held' | 'free' | 'unknown'> {
  const client = new pg.Client({
    ...LOCAL_CLIENT,
    host: HOST,
    port,
    user: SUPERUSER,
    password,
    database: 'postgres',
    connectionTimeoutMillis: 2_000,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ free: boolean }>('select pg_try_advisory_lock($1) as free', [OWNER_LOCK]);
    return rows[0]?.free ? 'free' : 'held';
  } catch {
    return 'unknown';
  } finally {
    await client.end().catch(() => {});
  }
}
