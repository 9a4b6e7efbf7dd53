import { createServer, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { eq, sql } from 'drizzle-orm';
import { neonConfig, types } from '@neondatabase/serverless';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import { anyFreePort } from '../../local/ports.ts';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { startListening } from '../../local/start-listening.ts';
import { createDatabase, type Database, type Queryable, type QueryEvent } from '../../src/db/database.ts';
import type { DatabaseError } from '../../src/db/error.ts';
import type { SocketTransport } from '../../src/db/transport.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { failure, WAYS } from './ways.ts';

const things = pgTable('things', {
  id: integer('id').primaryKey(),
  name: text('name').unique(),
  data: jsonb('data').$type<{ a: number }>(),
  at: timestamp('at', { withTimezone: true }),
});
const schema = { things };

describe.each(Object.entries(WAYS))('over %s', (_, { transports, oneShot, socket, reaches }) => {
  let gateway: Gateway;
  let test: TestDatabase;
  let database: Database<typeof schema>;
  let events: QueryEvent[];
  let db: Database<typeof schema>;

  const startOn = (port: number) =>
    startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port });

  beforeAll(async () => {
    gateway = await startOn(await anyFreePort()); // for it to have again
    test = await createEmptyDatabase(reaches === 'gateway' ? gateway.port : inject('stack').postgresPort);
    database = createDatabase({ url: test.url, schema, transports, sockets: 'instance' });
    await test.query(`create table things (id int primary key, name text unique, data jsonb, at timestamptz)`);
    await test.query(`create table templates (id int)`);
    await test.query('create table later (id int unique deferrable initially deferred); create table secret ()');
    await test.query('grant all on things, later, templates to app');
    events = [];
    db = database.forRequest({ onQuery: (event) => events.push(event) });
  });

  afterEach(async () => {
    await test.query('truncate things');
    events.length = 0;
  });

  afterAll(async () => {
    await database.close();
    await gateway.close();
    await test.close();
  });

  /** What `work` sends to the gateway. */
  const sent = async (work: () => Promise<unknown>) => {
    const before = gateway.stats();
    await work();
    const after = gateway.stats();
    return {
      requests: after.requests - before.requests,
      batches: after.batches - before.batches,
      sockets: after.sockets - before.sockets,
    };
  };

  const names = async (from: Queryable<typeof schema>) =>
    (await from.select({ name: things.name }).from(things).orderBy(things.id)).map(({ name }) => name);

  /** The server's process that a transaction has, which is its connection's. */
  const backend = async (from: Pick<Database, 'transaction'>) =>
    (await from.transaction((tx) => tx.execute(sql`select pg_backend_pid() as pid`))).rows[0]?.['pid'];

  const trips = () => events.reduce((sum, { roundTrips }) => sum + roundTrips, 0);

  describe('one-shot queries and batches', () => {
    it('take one round trip each', async () => {
      const stats = await sent(async () => {
        await db.insert(things).values({ id: 1, name: 'one', data: { a: 1 }, at: new Date(0) });
        expect(await db.select().from(things)).toEqual([{ id: 1, name: 'one', data: { a: 1 }, at: new Date(0) }]);
        expect(await db.$count(things)).toBe(1);
      });
      expect(stats).toEqual({ requests: oneShot === 'http' ? 3 : 0, batches: 0, sockets: 0 });
      expect(trips()).toBe(3);
      expect(events.map(({ operation, transport }) => [operation, transport])).toEqual(
        Array.from({ length: 3 }, () => ['one-shot', oneShot]),
      );
    });

    it('a batch is atomic and maps each result as its query would', async () => {
      const [inserted, selected, raw] = await db.batch([
        db.insert(things).values({ id: 1, name: 'one' }).returning({ id: things.id }),
        db.select({ name: things.name }).from(things),
        db.execute<{ two: number }>(sql`select 2 as two`),
      ]);
      expect([inserted, selected, raw.rows]).toEqual([[{ id: 1 }], [{ name: 'one' }], [{ two: 2 }]]);
      expect(trips()).toBe(1);

      const error = await failure(
        db.batch([db.insert(things).values({ id: 2, name: 'two' }), db.insert(things).values({ id: 3, name: 'one' })]),
      );
      expect(error).toMatchObject({ kind: 'constraint', code: '23505', transport: oneShot, table: 'things' });
      expect(await names(db)).toEqual(['one']);
    });

    it('a batch runs under the isolation level and access mode asked for', async () => {
      const modes = db.execute<Record<string, string>>(
        sql`select current_setting('transaction_isolation') as level, current_setting('transaction_read_only') as read_only`,
      );
      for (const level of ['read uncommitted', 'read committed', 'repeatable read', 'serializable'] as const) {
        const [{ rows }] = await db.batch([modes], { isolationLevel: level, accessMode: 'read only' });
        expect(rows).toEqual([{ level, read_only: 'on' }]);
      }
      const write = db.batch([db.insert(things).values({ id: 1 })], { accessMode: 'read only' });
      expect((await failure(write)).code).toBe('25006');
    });

    it('refuse what the protocol cannot carry, and what the server does not understand', async () => {
      const rows = Array.from({ length: 33_000 }, (_row, id) => ({ id, name: '' }));
      const tooFew = sql.raw('select $1::int');
      for (const work of [
        () => db.insert(things).values(rows),
        () => db.batch([db.insert(things).values(rows)]),
        () => db.execute(tooFew),
        () => db.batch([db.execute(tooFew)]),
        () => db.transaction((tx) => tx.execute(tooFew)),
      ]) {
        expect((await failure(work())).kind).toBe('query');
      }
    });

    it('tell onQuery what came of them', async () => {
      await db.execute(sql`select 1 union select 2`);
      await db.batch([db.insert(things).values([{ id: 1 }, { id: 2 }]), db.delete(things)]);
      await failure(db.execute(sql`select 1 / 0`));
      expect(events.map(({ rows, error }) => [rows, error])).toEqual([
        [2, undefined],
        [4, undefined],
        [0, '22012'],
      ]);
      for (const { ms } of events) expect(ms).toBeGreaterThan(0);
    });

    it('what the next one writes is in no transaction that one of them began by hand', async () => {
      await db.execute(sql`begin`);
      await db.insert(things).values({ id: 1 });
      expect(await test.query('select id from things')).toEqual([{ id: 1 }]);
    });

    it('a session setting does not reach the next query', async () => {
      await db.execute(sql`set work_mem = '123kB'`);
      const { rows } = await db.execute(sql`show work_mem`);
      expect(rows).not.toEqual([{ work_mem: '123kB' }]);
    });
  });

  describe('transactions', () => {
    /** A database that sends other statements than it is told. */
    const changing = (change: (text: string) => string) => {
      const real = (transports as Record<typeof socket, SocketTransport>)[socket];
      const open: SocketTransport['open'] = (...to) => {
        const connection = real.open(...to);
        const send = connection.send.bind(connection);
        connection.send = (flight) => send(flight.map(({ text, params }) => ({ text: change(text), params })));
        return connection;
      };
      return createDatabase({ url: test.url, schema, transports: { [socket]: { open } }, sockets: 'instance' });
    };

    it.each([
      [`select set_config('app.tenant', 'alice', false)`, false],
      [`select set_config('app.tenant', 'alice', false), exists (select 1 where (true))`, false],
      [`select set_config('app.tenant', 'alice', false), set_config('app.other', 'alice', true)`, false],
      [`update pg_settings set setting = '1234' where name = 'work_mem'`, false],
      [`select setseed(0.5)`, false],
      [`select pg_advisory_lock(77)`, false],
      [`select 1 as n into temporary leftover`, false],
      [`select 1 as n into global temp leftover`, false],
      [`select 1 as n into/**/temp leftover`, false],
      [`select 1 as n into "pg_temp".leftover`, false],
      [`select 1 as n into\n              temporary leftover`, false],
      [`SELECT SET_CONFIG('app.tenant', 'alice', FALSE)`, false],
      [`SELECT 1 AS n INTO TEMP leftover`, false],
      [`insert into templates values (1)`, true],
      [`DELETE FROM templates`, true],
      [`merge into templates using (values (1)) as v (id) on false when not matched then insert values (v.id)`, true],
      [`select set_config('app.tenant', 'alice', true)`, true],
      [`select pg_advisory_xact_lock(77)`, true],
      [`(select 1) union (select 2)`, true],
      [`with temp as (select 1 as id) insert into things select id from temp`, true],
    ])('%s leaves a connection that is used again: %s', async (text, isUsedAgain) => {
      const before = await backend(db);
      await db.transaction((tx) => tx.execute(sql.raw(text)));
      expect((await backend(db)) === before).toBe(isUsedAgain);
    });

    it('that are rolled back leave their connection, too: they do not end before that is done', async () => {
      const before = await backend(db);
      for (const query of [sql`select 1`, sql`select 1 / 0`]) {
        const work = db.transaction(async (tx) => {
          await tx.execute(query);
          throw new Error('undo');
        });
        await expect(work).rejects.toThrow();
        expect(await backend(db)).toBe(before);
      }
      await failure(db.batch([db.execute(sql`select 1 / 0`)]));
      expect(await backend(db)).toBe(before);
    });

    it('take one round trip a statement and one to commit, on one socket', async () => {
      const stats = await sent(() =>
        db.transaction(async (tx) => {
          await tx.insert(things).values({ id: 1, name: 'one' });
          await tx.insert(things).values({ id: 2, name: 'two' });
          expect(await names(tx)).toEqual(['one', 'two']);
        }),
      );
      expect(trips()).toBe(4);
      expect(stats).toMatchObject({ requests: 0, batches: 0 });
      expect(stats.sockets).toBeLessThanOrEqual(socket === 'websocket' ? 1 : 0);
      expect(new Set(events.map(({ transport }) => transport))).toEqual(new Set([socket]));
      expect(await names(db)).toEqual(['one', 'two']);
    });

    it('send several queries in one flight', async () => {
      await db.transaction((tx) =>
        tx.batch([
          tx.insert(things).values({ id: 1, name: 'one' }),
          tx.insert(things).values({ id: 2, name: 'two' }),
          tx.update(things).set({ name: 'zwei' }).where(eq(things.id, 2)),
        ]),
      );
      expect(trips()).toBe(2);
      expect(await names(db)).toEqual(['one', 'zwei']);
    });

    it('cost nothing when they send nothing', async () => {
      expect(await db.transaction(async () => 'nothing')).toBe('nothing');
      expect(trips()).toBe(0);
    });

    it('are rolled back when the callback throws, and its error is the one thrown', async () => {
      const thrown = new Error('no');
      const work = db.transaction(async (tx) => {
        await tx.insert(things).values({ id: 1 });
        throw thrown;
      });
      await expect(work).rejects.toBe(thrown);
      expect(await db.$count(things)).toBe(0);
    });

    it('write nothing when BEGIN fails, however many statements follow it', async () => {
      const error = await failure(
        db.transaction(
          async (tx) => {
            await Promise.all([
              tx.insert(things).values({ id: 1 }),
              tx.insert(things).values({ id: 2 }),
              tx.insert(things).values({ id: 3 }),
            ]);
          },
          { isolationLevel: 'nonsense' as never },
        ),
      );
      expect(error.code).toBe('42601');
      expect(await db.$count(things)).toBe(0);
    });

    it('do not turn a caught error into a silent rollback', async () => {
      const error = await failure(
        db.transaction(async (tx) => {
          await tx.insert(things).values({ id: 1 });
          await tx.execute(sql`select 1 / 0`).catch(() => {});
          await tx.execute(sql`select 1`).catch(() => {}); // fails, too: with what followed from the first
        }),
      );
      expect(error.message).toContain('rolled back');
      expect((error.cause as DatabaseError).code).toBe('22012');
      expect(await db.$count(things)).toBe(0);
    });

    it('undo only what a nested transaction did, at no cost of its own', async () => {
      await db.transaction(async (tx) => {
        await tx.insert(things).values({ id: 1, name: 'kept' });
        const nested = tx.transaction(async (inner) => {
          await inner.insert(things).values({ id: 2, name: 'undone' });
          await inner.insert(things).values({ id: 3, name: 'kept' });
        });
        expect((await failure(nested)).code).toBe('23505');
        await tx.transaction(async (inner) => {
          await inner.insert(things).values({ id: 4, name: 'also kept' });
        });
      });
      expect(trips()).toBe(5);
      expect(await names(db)).toEqual(['kept', 'also kept']);
    });

    it('commit what is left when the last nested one was undone', async () => {
      await db.transaction(async (tx) => {
        await tx.insert(things).values({ id: 1, name: 'kept' });
        await tx.transaction((inner) => inner.execute(sql`select 1 / 0`)).catch(() => {});
      });
      expect(await names(db)).toEqual(['kept']);
    });

    it('go on when a nested one throws before its first query', async () => {
      await db.transaction(async (tx) => {
        await tx.insert(things).values({ id: 1, name: 'before' });
        await expect(tx.transaction(() => Promise.reject(new Error('at once')))).rejects.toThrow('at once');
        await tx.insert(things).values({ id: 2, name: 'after' });
      });
      expect(await names(db)).toEqual(['before', 'after']);
    });

    it('lose nothing of a nested one whose RELEASE fails in the flight of the next, and is caught with it', async () => {
      let released = 0;
      // The first fails, as where a request to stop a statement comes late, and meets it.
      const cut = changing((text) => (text.startsWith('release') && released++ === 0 ? 'select 1 / 0' : text));
      const work = cut.transaction(async (tx) => {
        await tx.transaction((inner) => inner.insert(things).values({ id: 1 }));
        await tx.transaction((inner) => inner.insert(things).values({ id: 2 })).catch(() => {});
      });
      await failure(work);
      await cut.close();
      expect(await db.$count(things)).toBe(0);
    });

    it('refuse nested transactions side by side, which would undo each other', async () => {
      const work = db.transaction(async (tx) => {
        const [first, second] = await Promise.allSettled([
          tx.transaction(async (inner) => {
            await inner.insert(things).values({ id: 1, name: 'first' });
            throw new Error('undo');
          }),
          tx.transaction((inner) => inner.insert(things).values({ id: 2, name: 'second' })),
        ]);
        expect([first.status, second.status]).toEqual(['rejected', 'rejected']);
        await tx.transaction((inner) => inner.insert(things).values({ id: 3, name: 'third' }));
      });
      await work;
      expect(await names(db)).toEqual(['third']);
    });

    it('may be deferrable or not, as batches may', async () => {
      const shown = async (within: Queryable, deferrable: boolean) => {
        const options = { accessMode: 'read only', deferrable } as const;
        const show = sql`show transaction_deferrable`;
        const [{ rows }] = await within.batch([within.execute(show)], options);
        return [(await within.transaction((tx) => tx.execute(show), options)).rows, rows].flat();
      };
      const [on, off] = ['on', 'off'].map((value) => [0, 1].map(() => ({ transaction_deferrable: value })));
      expect(await shown(db, true)).toEqual(on);
      expect(await shown(db, false)).toEqual(off);
      await db.session(async (session) => {
        await session.execute(sql`set default_transaction_deferrable = on`);
        expect(await shown(session, false)).toEqual(off);
      });
    });

    it('refuse options of their own inside: they would have no effect', async () => {
      const options = { isolationLevel: 'serializable' } as const;
      await db.transaction(async (tx) => {
        const nested = tx.transaction((inner) => inner.execute(sql`select 1`), options);
        expect((await failure(nested)).message).toContain('no options');
        expect((await failure(tx.batch([tx.execute(sql`select 1`)], options))).kind).toBe('query');
      });
    });

    it('refuse the outer tx while a nested one is open', async () => {
      const outer = db.transaction((tx) =>
        tx.transaction(async () => {
          await tx.insert(things).values({ id: 1 });
        }),
      );
      expect((await failure(outer)).message).toContain('use its tx');
    });

    it('do not report a commit where there was none: BEGIN failed, or COMMIT was sent by hand', async () => {
      const neverBegun = db.transaction(
        async (tx) => {
          await tx.execute(sql`select 1`).catch(() => {});
        },
        { isolationLevel: 'nonsense' as never },
      );
      expect((await failure(neverBegun)).message).toContain('by hand');
      const byHand = db.transaction((tx) => tx.execute(sql`rollback`));
      expect((await failure(byHand)).message).toContain('by hand');
    });

    it('do not report a commit where the server answers COMMIT with ROLLBACK', async () => {
      const undone = changing((text) => (text === 'commit' ? 'rollback' : text));
      const work = undone.transaction((tx) => tx.insert(things).values({ id: 1 }));
      expect((await failure(work)).message).toContain('rolled back');
      await undone.close();
    });

    it('tell the first error when a nested one begins after it', async () => {
      const work = db.transaction(async (tx) => {
        await tx.execute(sql`select 1 / 0`).catch(() => {});
        await tx.transaction((inner) => inner.execute(sql`select 1`));
      });
      expect((await failure(work)).cause).toMatchObject({ code: '22012' });
    });

    it('cannot be used after their end', async () => {
      let leaked: Queryable<typeof schema> | undefined;
      await db.transaction(async (tx) => {
        leaked = tx;
      });
      const late = leaked?.insert(things).values({ id: 1 }).execute();
      expect((await failure(Promise.resolve(late))).message).toContain('has ended');
      expect(await db.$count(things)).toBe(0);
    });

    it('cannot be used after their end by way of a later one that is nested as deep', async () => {
      await db.transaction(async (tx) => {
        let leaked: Queryable<typeof schema> = tx;
        await tx.transaction(async (inner) => {
          leaked = inner;
        });
        await tx.transaction(async () => {
          const late = leaked.insert(things).values({ id: 1 }).execute();
          expect((await failure(late)).message).toContain('has ended');
        });
      });
      expect(await db.$count(things)).toBe(0);
    });

    it('undo a nested one that ends with a query unawaited', async () => {
      await db.transaction(async (tx) => {
        await tx.insert(things).values({ id: 1, name: 'kept' });
        const nested = tx.transaction(async (inner) => {
          void inner.insert(things).values({ id: 2, name: 'undone' }).execute();
        });
        expect((await failure(nested)).message).toContain('not awaited');
      });
      expect(await names(db)).toEqual(['kept']);
    });

    it('are rolled back when they end with a query unawaited', async () => {
      const work = db.transaction(async (tx) => {
        void tx.insert(things).values({ id: 1 }).execute();
      });
      expect((await failure(work)).message).toContain('not awaited');
      expect(await db.$count(things)).toBe(0);
    });

    it('report a constraint that fails at COMMIT', async () => {
      const twice = [sql`insert into later values (1)`, sql`insert into later values (1)`] as const;
      const work = db.transaction(async (tx) => {
        for (const statement of twice) await tx.execute(statement);
      });
      expect((await failure(work)).kind).toBe('constraint');
    });

    it('leave the connection usable after any of these', async () => {
      const small = createDatabase({ url: test.url, schema, transports, sockets: 'instance', maxSockets: 1 });
      for (let i = 0; i < 3; i++) {
        await small.transaction((tx) => tx.execute(sql`select 1 / 0`)).catch(() => {});
        await small
          .transaction((tx) => tx.execute(sql`select 1`), { isolationLevel: 'nonsense' as never })
          .catch(() => {});
      }
      const circular: Record<string, unknown> = {};
      circular['self'] = circular;
      await small.transaction((tx) => tx.execute(sql`select ${circular}`)).catch(() => {});
      const { rows } = await small.transaction((tx) => tx.execute(sql`select 1 as one`));
      expect(rows).toEqual([{ one: 1 }]);
      await small.close();
    });
  });

  it('a role and a password of any characters log in', async () => {
    const url = new URL(test.url);
    const [role, password] = ['ä r@:/?#%41+"', 'p@ss:/?#%41+ é'];
    [url.username, url.password] = [role, password].map(encodeURIComponent) as [string, string];
    const quoted = `"${role.replace('"', '""')}"`;
    await test.query(`create role ${quoted} login password '${password}' in role app`);
    const other = createDatabase({ url: url.href, schema, transports, sockets: 'instance' });
    const whoAmI = sql`select current_user as role`;
    const results = [await other.execute(whoAmI), await other.transaction((tx) => tx.execute(whoAmI))];
    expect(results.map(({ rows }) => rows)).toEqual([[{ role }], [{ role }]]);
    await other.close();
    await test.query(`drop role ${quoted}`);
  });

  it('a notification in a transaction, where nobody can listen for it, harms nothing', async () => {
    const work = db.transaction(async (tx) => {
      await tx.execute(sql`listen news`);
      await tx.execute(sql`notify news`); // which comes in front of COMMIT's end
      return 'committed';
    });
    expect(await work).toBe('committed');
  });

  it('transactions of no request do not wait for each other where a socket serves one request', async () => {
    const own = createDatabase({ url: test.url, schema: {}, transports, sockets: 'request', maxSockets: 1 });
    const pids = await own.transaction(async (tx) => {
      const { rows } = await tx.execute(sql`select pg_backend_pid() as pid`);
      return [rows[0]?.['pid'], await backend(own)];
    });
    expect(new Set(pids).size).toBe(2);
  });

  describe('a connection that lies idle', () => {
    let one: Database;
    beforeEach(() => {
      const settings = { maxSockets: 1, timeouts: { operationMs: Infinity }, retry: { attempts: 1 } };
      one = createDatabase({ url: test.url, schema: {}, transports, sockets: 'instance', ...settings });
    });

    afterEach(async () => {
      vi.useRealTimers();
      await one.close();
    });

    it('is closed after a minute, and not while it is used again', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const pid = await backend(one);
      await vi.advanceTimersByTimeAsync(59_000);
      await one.transaction(async (tx) => {
        await tx.execute(sql`select 1`);
        await vi.advanceTimersByTimeAsync(59_000);
        await tx.execute(sql`select 1`);
      });
      expect(await backend(one)).toBe(pid);
      await vi.advanceTimersByTimeAsync(60_000);
      vi.useRealTimers();
      await test.untilClosed(pid);
    });

    it.each([
      ['after a minute whose end no timer told, as where the process was frozen', 60_000],
      ['when the date was set back: how old it is nobody knows', -3_600_000],
    ])('is replaced %s', async (_when, ms) => {
      vi.useFakeTimers({ toFake: ['Date'] });
      const pid = await backend(one);
      vi.setSystemTime(Date.now() + ms);
      expect(await backend(one)).not.toBe(pid);
      await test.untilClosed(pid);
    });

    it('is no session, and makes room for one where there is no other', async () => {
      const pid = await backend(one);
      await one.session(async (session) => {
        await session.execute(sql`select 1`);
        await test.untilClosed(pid);
      });
    });

    it('is left alone by a session that has room', async () => {
      const two = createDatabase({ url: test.url, schema: {}, transports, sockets: 'instance', maxSockets: 2 });
      const pid = await backend(two);
      const { rows } = await two.session((session) => session.execute(sql`select pg_backend_pid() as pid`));
      expect(rows).not.toEqual([{ pid }]);
      expect(await backend(two)).toBe(pid);
      await two.close();
    });

    it('is replaced when it has ended meanwhile', async () => {
      const pid = await backend(one);
      await test.query('select pg_terminate_backend($1, 1000)', [pid]);
      expect(await backend(one)).not.toBe(pid);
    });
  });

  describe('sessions', () => {
    it('keep their state until they end, and then none of it', async () => {
      const one = createDatabase({ url: test.url, schema, transports, sockets: 'instance', maxSockets: 1 });
      const lock = sql`select pg_try_advisory_lock(7) as free`;
      await one.session(async (session) => {
        await session.execute(sql`set work_mem = '123kB'`);
        expect((await session.execute(sql`show work_mem`)).rows).toEqual([{ work_mem: '123kB' }]);
        expect((await session.execute(lock)).rows).toEqual([{ free: true }]);
        expect((await db.execute(lock)).rows).toEqual([{ free: false }]);
        await session.transaction((tx) => tx.insert(things).values({ id: 1 }));
      });
      expect((await db.execute(lock)).rows).toEqual([{ free: true }]);
      await one.session(async (session) => {
        expect((await session.execute(sql`show work_mem`)).rows).not.toEqual([{ work_mem: '123kB' }]);
      });
      await one.close();
    });

    it('take one round trip a statement or batch, and one to forget their state', async () => {
      await db.session(async (session) => {
        await session.execute(sql`select 1`);
        await session.batch([session.execute(sql`select 2`), session.execute(sql`select 3`)]);
      });
      expect(trips()).toBe(3);
      events.length = 0;
      await db.session((session) => session.execute(sql`begin`)); // ends with a ROLLBACK, too
      expect(trips()).toBe(3);
    });

    it('run one transaction at a time', async () => {
      await db.session(async (session) => {
        const insert = (id: number) =>
          session.transaction(async (tx) => {
            await tx.insert(things).values({ id });
          });
        const results = await Promise.allSettled([insert(1), insert(2), session.execute(sql`select 1`)]);
        expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
        await insert(3);
      });
      expect(await db.$count(things)).toBe(2);
    });

    it('are of no use, and hear nothing, after their end', async () => {
      const one = createDatabase({ url: test.url, schema, transports, sockets: 'instance', maxSockets: 1 });
      const heard: string[] = [];
      const kept = await one.session(async (session) => {
        await session.listen('news', (payload) => heard.push(`first: ${payload}`));
        return { session };
      });
      await one.session(async (session) => {
        await session.listen('news', (payload) => heard.push(`second: ${payload}`));
        await db.execute(sql`select pg_notify('news', 'hello')`);
        await vi.waitFor(() => expect(heard).toEqual(['second: hello']), PATIENCE);
        expect((await failure(kept.session.execute(sql`select 1`).execute())).message).toContain('has ended');
      });
      await one.close();
    });

    it.each(['throws', 'rejects'])('end with what a listener %s', async (how) => {
      const work = db.session(async (session) => {
        await session.listen('news', () => {
          if (how === 'throws') throw new Error('bad news');
          return Promise.reject(new Error('bad news'));
        });
        await db.execute(sql`select pg_notify('news', 'hello')`);
        await new Promise(() => {});
      });
      await expect(work).rejects.toThrow('bad news');
    });

    it('end with what a listener throws, whatever runs meanwhile', async () => {
      const thrown = new Error('bad news');
      const work = db.session(async (session) => {
        await session.listen('news', async () => {
          await test.untilSleeping();
          throw thrown;
        });
        await session.execute(sql`notify news`);
        await session.execute(sql`select pg_sleep(60)`);
      });
      await expect(work).rejects.toBe(thrown);
    });

    it('hear notifications, each on its channel, whatever its name', async () => {
      const channels = ['news', 'Of the "day"'];
      const heard: string[] = [];
      await db.session(async (session) => {
        for (const name of channels) await session.listen(name, (payload) => heard.push(`${name}: ${payload}`));
        for (const name of channels) await db.execute(sql`select pg_notify(${name}, ${name})`);
        await vi.waitFor(() => expect(heard).toEqual(channels.map((name) => `${name}: ${name}`)), PATIENCE);
      });
    });
  });

  describe('failures', () => {
    it('show neither parameters nor values of rows', async () => {
      await db.insert(things).values({ id: 1, name: 'hunter2' });
      for (const work of [
        () => db.execute(sql`select ${'hunter2'}::uuid`).execute(),
        () => db.insert(things).values({ id: 2, name: 'hunter2' }).execute(),
        () => db.transaction((tx) => tx.execute(sql`select ${'hunter2'}::int`)),
        () => db.execute(sql`select ${'an "odd" hunter2'}::float8`).execute(),
        () => db.execute(sql`select to_tsquery(${'a hunter2'})`).execute(),
        () => db.execute(sql`select ${'$& hunter2'}::uuid`).execute(),
        () => db.execute(sql`select ${'two lines,\nhunter2'}::uuid`).execute(),
        () => db.transaction((tx) => tx.insert(things).values({ id: 2, name: 'hunter2' }).execute()),
      ]) {
        const error = await failure(work());
        expect(inspect(error) + String(error.cause)).not.toContain('hunter2');
      }
    });

    it('show no values in what PostgreSQL tells of the statements of a function', async () => {
      await test.query(`create function run(statement text, value text) returns void language plpgsql as
        $$ begin execute format(statement, value); end $$`);
      // The server points into the first, and quotes the second as what went on.
      for (const [statement, code] of [
        ['select %L::int', '22P02'],
        ['select %L, 1 / 0', '22012'],
      ] as const) {
        const call = sql`select run(${statement}, ${'hunter2'})`;
        for (const work of [() => db.execute(call).execute(), () => db.transaction((tx) => tx.execute(call))]) {
          const error = await failure(work());
          expect(error.code).toBe(code);
          expect(inspect(error)).not.toContain('hunter2');
        }
      }
    });

    it('of a constraint name it, and its table and column', async () => {
      await db.insert(things).values({ id: 1, name: 'one' });
      const twice = await failure(db.insert(things).values({ id: 2, name: 'one' }));
      expect(twice).toMatchObject({ code: '23505', table: 'things', constraint: 'things_name_key' });
      const missing = await failure(db.execute(sql`insert into things (name) values ('two')`));
      expect(missing).toMatchObject({ code: '23502', table: 'things', column: 'id' });
    });

    it('lead by their stacks to who asked', async () => {
      const missing = sql`select missing`;
      const onlooker = async (on: Pick<Database, 'execute'>) => void (await on.execute(missing));
      for (const work of [
        () => onlooker(db),
        async function onlooker() {
          await db.select({ missing: sql`missing` }).from(things);
        },
        async function onlooker() {
          await db.batch([db.execute(missing), db.execute(missing)]);
        },
        () => db.transaction(onlooker),
        () => db.transaction((tx) => tx.transaction(onlooker)),
        () => db.session(onlooker),
      ]) {
        const { stack, code } = await failure(work());
        expect([stack, code]).toEqual([
          expect.stringMatching(/^DatabaseError: .* does not exist\n[^]* onlooker /),
          '42703',
        ]);
      }
    });

    it('of a COMMIT lead to who asked for the transaction', async () => {
      const { stackTraceLimit } = Error;
      Error.stackTraceLimit = 10; // Node's, and not Vitest's
      const onlooker = async () => {
        await db.transaction((tx) => tx.execute(sql`insert into later values (1), (1)`));
      };
      const { stack, code } = await failure(onlooker()).finally(() => {
        Error.stackTraceLimit = stackTraceLimit;
      });
      expect([stack, code]).toEqual([expect.stringContaining(' onlooker '), '23505']);
    });

    it('show no number that is out of range', async () => {
      const error = await failure(db.execute(sql`select ${'12345678901'}::int`).execute());
      expect(error).toMatchObject({ code: '22003', message: 'value … is out of range for type integer' });
      expect(inspect(error)).not.toContain('12345678901');
    });

    it('of COPY, which would swallow what follows, are clear, and end the connection', async () => {
      const work = db.transaction((tx) => tx.execute(sql`copy things from stdin`));
      expect((await failure(work)).message).toContain('COPY');
      expect(await db.transaction((tx) => tx.$count(things))).toBe(0);
    });

    it('of a parameter that cannot be encoded are told before anything is sent', async () => {
      for (const [value, reason] of [
        [() => 1, 'it is a function'],
        [Symbol('s'), 'Cannot convert a Symbol value to a string'],
      ] as const) {
        const error = await failure(db.execute(sql`select ${sql.param(value)}`).execute());
        expect(error).toMatchObject({ kind: 'query', message: `A parameter is refused: ${reason}` });
      }
      expect(events).toEqual([]);
    });

    it('of a value that a column cannot encode are what the column throws, before anything is sent', async () => {
      const invalid = db.insert(things).values({ id: 2, at: new Date(NaN) });
      await expect(invalid).rejects.toThrow(new RangeError('Invalid time value'));
      await expect(db.batch([db.insert(things).values({ id: 1 }), invalid])).rejects.toThrow(RangeError);
      await expect(db.insert(things).values({ id: 2, data: { a: 1n as never } })).rejects.toThrow(TypeError);
      expect(events).toEqual([]);
      expect(await db.$count(things)).toBe(0);
    });

    it('of who looks on do not change what happened', async () => {
      const watched = database.forRequest({
        onQuery() {
          throw new Error('from onQuery');
        },
      });
      await watched.insert(things).values({ id: 1 });
      expect(await watched.$count(things)).toBe(1);
    });

    it('are the same kind over each transport', async () => {
      const both = async (make: (db: Queryable<typeof schema>) => Promise<unknown>) => [
        (await failure(make(db))).kind,
        (await failure(db.transaction((tx) => make(tx)))).kind,
      ];
      expect(await both((on) => on.execute(sql`selec`).execute())).toEqual(['query', 'query']);
      expect(await both((on) => on.execute(sql`select * from secret`).execute())).toEqual(['auth', 'auth']);
      expect(
        await both((on) =>
          on
            .insert(things)
            .values({ id: 1, name: 'x' })
            .execute()
            .then(() => on.insert(things).values({ id: 1, name: 'x' }).execute()),
        ),
      ).toEqual(['constraint', 'constraint']);
    });

    it('of the credentials and of the connection are the same kind over each transport, and show no password', async () => {
      const stranger = `stranger_${Date.now()}`; // who may log in, and to no database
      await test.query(`create role ${stranger} login password 'hunter2'`);
      for (const [url, kind] of [
        [test.url.replace(/:[0-9a-f]+@/, ':hunter2@'), 'auth'],
        [test.url.replace(/\/\/.*@/, `//${stranger}:hunter2@`), 'auth'],
        [test.url.replace(/[^/]+$/, 'nowhere'), 'query'],
        [`postgresql://app:hunter2@127.0.0.1:${await anyFreePort()}/app`, 'connection'],
      ] as const) {
        const broken = createDatabase({ url, schema, transports, sockets: 'instance' });
        const errors = [
          await failure(broken.execute(sql`select 1`).execute()),
          await failure(broken.batch([broken.execute(sql`select 1`)])),
          await failure(broken.transaction((tx) => tx.execute(sql`select 1`))),
          await failure(broken.session((session) => session.execute(sql`select 1`))),
        ];
        expect(errors.map((error) => error.kind)).toEqual(Array.from({ length: 4 }, () => kind));
        for (const error of errors) expect(`${error.stack}${JSON.stringify(error)}`).not.toContain('hunter2');
        await broken.close();
      }
      await test.query(`drop role ${stranger}`);
    });

    it('of a server that accepts and never answers end in time', async () => {
      const sockets = new Set<Socket>();
      const stalled = createServer((accepted) => sockets.add(accepted.on('error', () => {})));
      const port = await startListening(stalled);
      const broken = createDatabase({
        url: `postgresql://app:hunter2@127.0.0.1:${port}/app`,
        schema,
        transports,
        sockets: 'instance',
        timeouts: { connectMs: 100, statementMs: 100 },
      });
      const kinds = await Promise.all([
        failure(broken.execute(sql`select 1`).execute()),
        failure(broken.batch([broken.execute(sql`select 1`)])),
        failure(broken.transaction((tx) => tx.execute(sql`select 1`))),
        failure(broken.session((session) => session.execute(sql`select 1`))),
      ]);
      // An HTTP batch holds its COMMIT: once it is sent, silence says nothing about it.
      const batch = oneShot === 'http' ? 'outcome-unknown' : 'timeout';
      expect(kinds.map(({ kind }) => kind)).toEqual(['timeout', batch, 'timeout', 'timeout']);
      await broken.close();
      for (const accepted of sockets) accepted.destroy();
      await new Promise((resolve) => stalled.close(resolve));
    });

    it('of a server that dies in the middle of a statement end it, and nothing else', async () => {
      const work = failure(
        db.transaction(async (tx) => {
          await tx.execute(sql`select 1`);
          await tx.execute(sql`select pg_sleep(30)`);
        }),
      );
      await vi.waitFor(async () => {
        const killed = await test.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%' and datname = current_database()`,
        );
        expect(killed).toHaveLength(1);
      }, PATIENCE);
      expect((await work).kind).toBe('unavailable');
      expect(await db.transaction((tx) => tx.$count(things))).toBe(0);
    });

    const endSleepers = () =>
      test.query(
        `select pg_terminate_backend(pid, 1000) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`,
      );

    it.each([
      [
        'the gateway goes away',
        async () => {
          const { port } = gateway;
          await gateway.close();
          gateway = await startOn(port);
          await endSleepers(); // whose client is gone
        },
      ],
      ['the server ends the connection', () => endSleepers()],
    ])('of COMMIT are of unknown outcome when %s before the answer', async (reason, cut) => {
      if (reason === 'the gateway goes away' && reaches !== 'gateway') return;
      const table = `slow_${reason.replaceAll(' ', '_')}`;
      // Holds up COMMIT for as long as the connection lives.
      await test.query(`
      create table ${table} (id int);
      grant insert on ${table} to app;
      create or replace function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(30); return null; end $$;
      create constraint trigger wait after insert on ${table} deferrable initially deferred
        for each row execute function wait()`);
      const work = db.transaction((tx) => tx.execute(sql.raw(`insert into ${table} values (1)`)));
      const outcome = failure(work);
      await test.untilSleeping();
      await cut();
      expect((await outcome).kind).toBe('outcome-unknown');
    });
  });
});

describe('the driver', () => {
  it('is left as it was for everybody else in the process', async () => {
    const before = [neonConfig.fetchEndpoint, neonConfig.webSocketConstructor, types.getTypeParser(1184)];
    const test = await createEmptyDatabase();
    const { transports } = WAYS['the Neon driver'];
    const other = createDatabase({ url: test.url, schema, transports, sockets: 'instance' });
    await Promise.all([other.execute(sql`select 1`), other.transaction((tx) => tx.execute(sql`select 1`))]);
    expect([neonConfig.fetchEndpoint, neonConfig.webSocketConstructor, types.getTypeParser(1184)]).toEqual(before);
    await other.close();
    await test.close();
  });
});
