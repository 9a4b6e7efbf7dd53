import { appendFile, chown, cp, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deletePostgres, type Postgres, startPostgres } from './postgres.ts';
import { prepareData } from './postgres-data.ts';
import { HOST, SUPERUSER } from './postgres-owner.ts';

export interface StandbyOptions {
  /** Everything is kept below it, and deleted first: a standby is created anew at every start. */
  directory: string;
  port: number;
  /** Milliseconds that it stays behind the primary. */
  lagMs: number;
  /** The primary's settings: a standby must not have less of anything. */
  settings?: Record<string, string> | undefined;
}

export interface Standby extends Postgres {
  /**
   * Resolves when it has replayed everything that the primary has had until now.
   * @throws {Error} when the primary ends first
   */
  catchUp(): Promise<void>;
  /** Milliseconds. */
  setLag(lagMs: number): Promise<void>;
}

/** Milliseconds between two checks whether it has caught up. */
const POLL_MS = 20;

/** Starts a hot standby beside a primary on this machine: it can be read, and follows the primary. */
export async function startStandby(primary: Postgres, options: StandbyOptions): Promise<Standby> {
  const { directory, port, lagMs, settings } = options;
  await deletePostgres(directory);
  const password = new URL(primary.superuserUrl).password;
  const dataDirectory = await prepareData(directory, password);
  await copyData(primary, dataDirectory);
  await writeFile(path.join(dataDirectory, 'standby.signal'), '');
  await appendFile(
    path.join(dataDirectory, 'postgresql.auto.conf'),
    // The lag is set here and not on the command line, where it could not be changed.
    `primary_conninfo = 'host=${HOST} port=${primary.port} user=${SUPERUSER} password=${password}'
recovery_min_apply_delay = ${lagMs}\n`,
  );
  await giveTo(await stat(primary.dataDirectory), dataDirectory);
  const standby = await startPostgres({ directory, port, settings });
  return {
    ...standby,
    async catchUp() {
      const [ahead, behind] = await Promise.all([primary.connect(), standby.connect()]);
      try {
        const { rows } = await ahead.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn');
        const caughtUp = async () =>
          (await behind.query('select where pg_last_wal_replay_lsn() >= $1::pg_lsn', [rows[0]?.lsn])).rowCount === 1;
        while (!(await caughtUp())) {
          await sleep(POLL_MS);
          await ahead.query('select'); // fails when the primary has ended: the rest never comes then
        }
      } finally {
        await Promise.all([ahead.end(), behind.end()]);
      }
    },
    async setLag(changedMs) {
      const client = await standby.connect();
      try {
        await client.query(`alter system set recovery_min_apply_delay = ${Math.round(changedMs)}`);
        await client.query('select pg_reload_conf()');
      } finally {
        await client.end();
      }
    },
  };
}

/** https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP */
async function copyData(primary: Postgres, target: string): Promise<void> {
  const source = primary.dataDirectory;
  const client = await primary.connect();
  try {
    await client.query(`select pg_backup_start('standby', fast => true)`);
    await cp(source, target, {
      recursive: true,
      filter: (file) => !/^(pg_wal[/\\].+|postmaster\..+|\.s\.PGSQL\..+)$/.test(path.relative(source, file)),
    });
    const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
    await writeFile(path.join(target, 'backup_label'), rows[0]?.labelfile ?? '');
  } finally {
    await client.end();
  }
}

/** The account that runs the primary also runs the standby. */
async function giveTo({ uid, gid }: { uid: number; gid: number }, directory: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  for (const file of ['.', ...(await readdir(directory, { recursive: true }))]) {
    await chown(path.join(directory, file), uid, gid);
  }
}
