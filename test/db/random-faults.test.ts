import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createDatabase, type Database, type Queryable } from '../../src/db/database.ts';
import { DatabaseError } from '../../src/db/error.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts';
import { WAYS } from './ways.ts';

/** To look for longer: OPERATIONS=5000. */
const { OPERATIONS = 400 } = process.env;

/** How many operations run at once: more than there are connections. */
const AT_ONCE = 12;

/** How many of the packets are cut off. */
const CUT = 0.01;

const insert = (on: Queryable, id: string, part: number) => on.execute(sql`insert into log values (${id}, ${part})`);

/** Fails if the answer belongs to somebody else, or if somebody else has left a setting on the connection. */
async function echo(on: Queryable, id: string): Promise<void> {
  const { rows } = await on.execute(
    sql`select ${id} as id, nullif(current_setting('app.id', true), '') as other, array_agg(g) as list from generate_series(1, 300) g`,
  );
  expect(rows).toEqual([{ id, other: null, list: Array.from({ length: 300 }, (_, index) => index + 1) }]);
}

/** The callback's own failure, after which nothing may remain. */
class Regret extends Error {}

interface Kind {
  name: string;
  /** Rows that it leaves behind. */
  rows: number;
  /** Whether a failure may leave them, unless it says that nothing has run. */
  autocommits?: boolean;
  run(db: Database, id: string): Promise<unknown>;
}

const KINDS: Kind[] = [
  { name: 'write', rows: 1, autocommits: true, run: (db, id) => insert(db, id, 0) },
  { name: 'read', rows: 0, run: (db, id) => echo(db, id) },
  { name: 'setting', rows: 0, run: (db, id) => db.execute(sql`select set_config('app.id', ${id}, false)`) },
  {
    name: 'read-only transaction',
    rows: 0,
    run: (db, id) => db.transaction((tx) => echo(tx, id), { accessMode: 'read only' }),
  },
  { name: 'batch', rows: 2, run: (db, id) => db.batch([insert(db, id, 0), insert(db, id, 1)]) },
  {
    name: 'transaction',
    rows: 2,
    run: (db, id) =>
      db.transaction(async (tx) => {
        await Promise.all([insert(tx, id, 0), echo(tx, id)]);
        await tx.transaction((savepoint) => insert(savepoint, id, 1));
      }),
  },
  {
    name: 'rolled back',
    rows: 0,
    async run(db, id) {
      await db.transaction(async (tx) => {
        await insert(tx, id, 0);
        throw new Regret();
      });
      throw new Error('the failure of its callback is lost');
    },
  },
  {
    name: 'session',
    rows: 1,
    autocommits: true, // its transaction may be over when it fails
    run: (db, id) =>
      db.session(async (session) => {
        await session.execute(sql`select set_config('app.id', ${id}, false)`);
        await session.transaction((tx) => insert(tx, id, 0));
      }),
  },
];

describe.each(Object.entries(WAYS))('over %s, whatever breaks', (_, { transports, reaches }) => {
  let proxy: FaultProxy;
  let test: TestDatabase;

  beforeAll(async () => {
    const { gatewayPort, postgresPort } = inject('stack');
    proxy = await startFaultProxy({ port: reaches === 'gateway' ? gatewayPort : postgresPort });
    test = await createEmptyDatabase(proxy.port);
    await test.query('create table log (id uuid, part int); grant select, insert on log to app');
  });

  afterAll(async () => {
    await proxy.close();
    await test.close();
  });

  it.each(['instance', 'request'] as const)(
    'what succeeded is there once, what failed is not, and nobody sees what is not theirs (sockets: %s)',
    async (sockets) => {
      const database = createDatabase({ url: test.url, schema: {}, transports, sockets });
      const results: { id: string; kind: Kind; error: unknown }[] = [];
      let started = 0;
      const operate = async () => {
        while (started++ < Number(OPERATIONS)) {
          const kind = KINDS[Math.floor(Math.random() * KINDS.length)] as Kind;
          const id = randomUUID();
          const db = database.forRequest({});
          const error: unknown = await kind.run(db, id).then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          results.push({ id, kind, error });
          await db.close();
        }
      };
      proxy.cut(CUT);
      await Promise.all(Array.from({ length: AT_ONCE }, operate));
      proxy.cut(0);
      await database.close();

      // What was cut off may still be running.
      const active = `select from pg_stat_activity where datname = current_database() and usename = 'app' and state = 'active'`;
      await vi.waitFor(async () => expect(await test.query(active)).toEqual([]), PATIENCE);
      const found = await test.query<{ id: string; rows: number; parts: number }>(
        'select id, count(*)::int as rows, count(distinct part)::int as parts from log group by id',
      );
      const kept = new Map(found.map(({ id, ...counts }) => [id, counts]));
      const wrong = results.filter(({ id, kind: { rows, autocommits }, error }) => {
        if (error && !(error instanceof DatabaseError || error instanceof Regret)) return true;
        const { kind, retryable } = error instanceof DatabaseError ? error : {};
        const mayRemain = kind === 'outcome-unknown' || (kind && autocommits && !retryable);
        const count = kept.get(id) ?? { rows: 0, parts: 0 };
        return count.rows !== count.parts || !(count.rows === (error ? 0 : rows) || (mayRemain && count.rows === rows));
      });
      expect(wrong.map(({ id, kind, error }) => [kind.name, kept.get(id), error])).toEqual([]);
      const kinds = new Set(results.map(({ error }) => (error instanceof DatabaseError ? error.kind : undefined)));
      expect([...kinds]).toEqual(expect.arrayContaining([undefined, 'connection']));
    },
  );
});
