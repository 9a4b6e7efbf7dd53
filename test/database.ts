import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { expect, inject, vi } from 'vitest';
import { PRISTINE } from './pristine.ts';

/**
 * Milliseconds to wait for what happens at once on an idle machine: others may be busy. Less than the 30 s after which a
 * statement of the application's role ends by itself, stopped or not.
 */
export const PATIENCE = 25_000;

export interface TestDatabase {
  /** Through the gateway, as the application's role. */
  url: string;
  /** Through the gateway, as the owner's. */
  ownerUrl: string;
  /** Runs SQL as a superuser, on a connection of its own. */
  query<Row extends pg.QueryResultRow>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** Runs `work` while another connection holds an advisory lock. */
  whileLocked<T>(lock: string, work: () => Promise<T>): Promise<T>;
  /** Resolves when so many connections wait for a lock, of whatever kind. */
  untilWaiting(count?: number): Promise<void>;
  /** Resolves when so many connections are in `pg_sleep`. */
  untilSleeping(count?: number): Promise<void>;
  /** Resolves when the server has ended the connection of this process. */
  untilClosed(pid: unknown): Promise<void>;
  /** Resolves to what then waits for a rollback, such as that of a statement that is stopped, on a connection that ends. */
  untilRolledBack(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/**
 * A migrated database for one test file alone, behind the shared gateway or one of the test's own.
 * @param gatewayPort of the gateway that the URLs lead to
 */
export function createTestDatabase(gatewayPort?: number): Promise<TestDatabase> {
  return copyDatabase(PRISTINE, gatewayPort);
}

/** The same with nothing in it: for tests that make tables of their own, whatever the migrations make. */
export function createEmptyDatabase(gatewayPort?: number): Promise<TestDatabase> {
  return copyDatabase('template0', gatewayPort);
}

async function copyDatabase(template: string, gatewayPort = inject('stack').gatewayPort): Promise<TestDatabase> {
  const stack = inject('stack');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const withDatabase = (url: string, port?: number) => {
    const changed = new URL(url);
    changed.pathname = name;
    if (port !== undefined) changed.port = String(port);
    return changed.href;
  };

  const admin = new pg.Client({ connectionString: stack.superuser });
  await admin.connect();
  await admin.query(`create database ${name} template ${template} owner app_owner`);
  await admin.query(`revoke all on database ${name} from public`);
  await admin.query(`grant connect, temporary on database ${name} to app`);

  const pool = new pg.Pool({ connectionString: withDatabase(stack.superuser), max: 3 });
  const until = async (count: number, condition: string) => {
    const activity = `select from pg_stat_activity where datname = current_database() and ${condition}`;
    await vi.waitFor(async () => expect((await pool.query(activity)).rows).toHaveLength(count), PATIENCE);
  };
  // Its connections may still be closing when the database is dropped.
  pool.on('connect', (client) => client.on('error', () => {}));
  pool.on('error', () => {});
  return {
    url: withDatabase(stack.app, gatewayPort),
    ownerUrl: withDatabase(stack.owner, gatewayPort),
    async query<Row extends pg.QueryResultRow>(sql: string, params: unknown[] = []) {
      return (await pool.query<Row>(sql, params)).rows;
    },
    async whileLocked(lock, work) {
      const client = await pool.connect();
      try {
        await client.query('select pg_advisory_lock(hashtextextended($1, 0))', [lock]);
        return await work();
      } finally {
        await client.query('select pg_advisory_unlock_all()');
        client.release();
      }
    },
    untilWaiting: (count = 1) => until(count, `wait_event_type = 'Lock'`),
    untilSleeping: (count = 1) => until(count, `wait_event = 'PgSleep'`),
    async untilClosed(pid) {
      const open = 'select from pg_stat_activity where pid = $1';
      await vi.waitFor(async () => expect((await pool.query(open, [pid])).rows).toEqual([]), PATIENCE);
    },
    async untilRolledBack() {
      const count = async () =>
        (await pool.query('select xact_rollback from pg_stat_database where datname = current_database()')).rows;
      const before = await count();
      return () => vi.waitFor(async () => expect(await count()).not.toEqual(before), PATIENCE);
    },
    async close() {
      await pool.end();
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}
