import { getEventListeners } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { createDatabase, type Database, type PinnedSession, type QueryEvent } from '../../src/db/database.ts';
import type { DatabaseError } from '../../src/db/error.ts';
import type { Connection, SocketTransport, Transports } from '../../src/db/transport.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts';
import { runModule } from '../run-module.ts';
import { CREATE_NOTES, failure, notes, WAYS } from './ways.ts';

const schema = { notes };

/** Stands still, as a function does between two requests. */
const freeze = (ms: number) => {
  for (const end = Date.now() + ms; Date.now() < end;);
};

/** All but two: the first may be the cause of what is said later, and the last is still in use. */
const untilCollected = async (errors: WeakRef<DatabaseError>[]) => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  await vi.waitFor(async () => {
    await pause(20);
    collectGarbage();
    expect(errors.filter((error) => error.deref()).length).toBeLessThanOrEqual(2);
  }, PATIENCE);
};

it('a URL that is waited for in vain is a failure, and not the end of the process', async () => {
  const script = `
    import { sql } from 'drizzle-orm';
    import { createDatabase } from './src/db/database.ts';
    import { neonHttp } from './src/db/http.ts';
    const url = () => new Promise(() => {});
    const options = { schema: {}, transports: { http: neonHttp() }, sockets: 'instance', timeouts: { connectMs: 300 } };
    await createDatabase({ url, ...options }).execute(sql\`select 1\`).catch((error) => console.log(error.kind));`;
  const { stdout } = await runModule(script);
  expect(stdout).toBe('timeout\n');
});

it('neither a connection that failed nor a statement that was stopped leaves a timer behind, which would keep the process', async () => {
  const script = (url: string) => `
    import { sql } from 'drizzle-orm';
    import { createDatabase } from './src/db/database.ts';
    import { tcp } from './src/db/tcp.ts';
    const options = { schema: {}, transports: { tcp: tcp() }, sockets: 'instance', retry: { attempts: 1 } };
    const database = createDatabase({ url: '${url}', ...options, timeouts: { operationMs: 1_000 } });
    await database.execute(sql\`select pg_sleep(60)\`).catch((error) => console.log(error.kind));
    await database.close();
    console.log(process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout'));`;
  const urls = [`postgresql://app:hunter2@127.0.0.1:${await anyFreePort()}/app`, inject('stack').superuser];
  const outputs = urls.map(async (url) => (await runModule(script(url))).stdout);
  expect(await Promise.all(outputs)).toEqual(['connection\n[]\n', 'timeout\n[]\n']);
});

describe.each(Object.entries(WAYS))('over %s', (_, { transports, oneShot, socket, reaches }) => {
  let proxy: FaultProxy;
  let test: TestDatabase;
  let events: QueryEvent[] = [];
  const open: Database[] = [];

  const start = (port?: number) => {
    const { gatewayPort, postgresPort } = inject('stack');
    return startFaultProxy({ port: reaches === 'gateway' ? gatewayPort : postgresPort }, port);
  };

  beforeAll(async () => {
    proxy = await start();
    test = await createEmptyDatabase(proxy.port);
    await test.query(CREATE_NOTES);
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    proxy.stall(false);
    proxy.loseAnswers(false);
    await Promise.all(open.splice(0).map((database) => database.close()));
    await test.query('truncate notes');
    events = [];
  });

  afterAll(async () => {
    await proxy.close();
    await test.close();
  });

  /** A database behind the proxy, watched. */
  const connect = (options: Partial<Parameters<typeof createDatabase>[0]> = {}, onEvent?: (e: QueryEvent) => void) => {
    const database = createDatabase({ url: test.url, schema, transports, sockets: 'instance', ...options });
    open.push(database);
    const onQuery = (event: QueryEvent) => {
      events.push(event);
      onEvent?.(event);
    };
    return { database, db: database.forRequest({ onQuery }), onQuery };
  };

  const count = async () => (await test.query('select from notes')).length;

  const sleep = sql`select pg_sleep(60)`;
  const operations: [string, (db: Database) => PromiseLike<unknown>][] = [
    ['one-shot', (db) => db.execute(sleep)],
    ['batch', (db) => db.batch([db.execute(sleep)], { accessMode: 'read only' })],
    ['transaction', (db) => db.transaction((tx) => tx.execute(sleep))],
    ['session', (db) => db.session((session) => session.execute(sleep))],
  ];

  const writing: (typeof operations)[number] = [
    'batch that writes',
    (db) => db.batch([db.insert(notes).values({ id: 1, text: 'late' }), db.execute(sleep)]),
  ];

  describe('deadlines', () => {
    it.each([...operations, writing])('stop a statement of a %s on the server', async (_operation, run) => {
      const { db } = connect({ timeouts: { statementMs: 500 } });
      // A first connection takes time, too: the server is to answer before nobody waits for it any more.
      await vi.waitFor(() => db.batch([db.execute(sql`select 1`)]), PATIENCE);
      await vi.waitFor(async () => expect((await failure(run(db))).kind).toBe('timeout'), PATIENCE);
      await test.untilSleeping(0);
      const next = () => db.transaction((tx) => tx.execute(sql`select 1 as one`));
      await vi.waitFor(async () => expect((await next()).rows).toEqual([{ one: 1 }]), PATIENCE);
    });

    it('keep a transaction from being committed that was frozen until one had passed', async () => {
      const operationMs = 2_000;
      const { db } = connect({ timeouts: { operationMs } });
      const work = db.transaction(async (tx) => {
        await tx.insert(notes).values({ id: 1, text: 'late' });
        // Whose turn comes before the deadline's, with all that waits for as long; and what delays that.
        setTimeout(() => {});
        process.nextTick(freeze, 5);
        freeze(operationMs);
      });
      expect((await failure(work)).kind).toBe('timeout');
      expect(await count()).toBe(0);
    });

    it('and an aborted request leave a batch that writes of unknown outcome', async () => {
      const { database } = connect();
      const controller = new AbortController();
      const work = failure(writing[1](database.forRequest({ signal: controller.signal })));
      await test.untilSleeping();
      controller.abort();
      expect((await work).kind).toBe('outcome-unknown');
      await test.untilSleeping(0);
    });

    it.each(operations)('and an aborted request stop a %s on the server', async (operation, run) => {
      const { database } = connect();
      const controller = new AbortController();
      const work = failure(run(database.forRequest({ signal: controller.signal })));
      await test.untilSleeping();
      controller.abort();
      const transport = /one-shot|batch/.test(operation) ? oneShot : socket;
      expect(await work).toMatchObject({ kind: 'timeout', transport });
      await test.untilSleeping(0);
    });

    it('and an aborted request end a session that runs nothing, and free its lock', async () => {
      const { database } = connect();
      const controller = new AbortController();
      const locked = Promise.withResolvers<void>();
      const work = failure(
        database.forRequest({ signal: controller.signal }).session(async (session) => {
          await session.execute(sql`select pg_advisory_lock(1)`);
          locked.resolve();
          await new Promise(() => {});
        }),
      );
      await locked.promise;
      controller.abort();
      expect((await work).kind).toBe('timeout');
      const tryLock = () => test.query('select pg_try_advisory_xact_lock(1) as free');
      await vi.waitFor(async () => expect(await tryLock()).toEqual([{ free: true }]), PATIENCE);
    });

    it('leave an aborted COMMIT in a session of unknown outcome', async () => {
      const { database } = connect();
      await test.query(`
        create table slow (id int);
        grant insert on slow to app;
        create function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(30); return null; end $$;
        create constraint trigger wait after insert on slow deferrable initially deferred
          for each row execute function wait()`);
      const controller = new AbortController();
      const work = failure(
        database
          .forRequest({ signal: controller.signal })
          .session((session) => session.transaction((tx) => tx.execute(sql`insert into slow values (1)`))),
      );
      await test.untilSleeping();
      controller.abort();
      expect((await work).kind).toBe('outcome-unknown');
    });

    it('of a whole transaction end it, whatever its callback waits for', async () => {
      const { db } = connect({ timeouts: { operationMs: 300 } });
      const busy = db.transaction(async (tx) => {
        for (;;) await tx.execute(sql`select pg_sleep(0.02)`);
      });
      const idle = db.transaction(async (tx) => {
        await tx.insert(notes).values({ id: 1, text: 'never' });
        await new Promise(() => {});
      });
      // At once: on a busy machine, either may be the first to fail.
      const [error, other] = await Promise.all([failure(busy), failure(idle)]);
      expect([error.kind, other.kind]).toEqual(['timeout', 'timeout']);
      expect(await count()).toBe(0);
    });

    it('cover what a session waits for, a connection, too', async () => {
      const { db } = connect({ maxSockets: 1, timeouts: { connectMs: 3_000 } });
      const one = (session: PinnedSession) => session.execute(sql`select 1 as one`);
      const nested = db.session(async (session) => {
        await one(session);
        await db.session(one);
      });
      expect(await failure(nested)).toMatchObject({
        kind: 'timeout',
        message: 'Waiting for a connection took more than 3000 ms.',
      });
      expect((await db.session(one)).rows).toEqual([{ one: 1 }]);
    });

    it('cover waiting for a connection, and lose no place', async () => {
      const { db } = connect({ maxSockets: 1, timeouts: { operationMs: 500 } });
      await db.session(async () => {
        // Opened by its first statement only.
      });
      await db.session(async (session) => {
        await session.execute(sql`select 1`);
        expect((await failure(db.transaction((tx) => tx.execute(sql`select 1`)))).kind).toBe('timeout');
        if (reaches === 'PostgreSQL') expect((await failure(writing[1](db))).kind).toBe('timeout');
      });
      const next = () => db.transaction((tx) => tx.execute(sql`select 1`));
      await vi.waitFor(async () => expect((await next()).rowCount).toBe(1), PATIENCE);
    });

    it('and an aborted request whose callback goes on take no place either', async () => {
      const { database } = connect({ maxSockets: 1 });
      const controller = new AbortController();
      const ended = Promise.withResolvers<void>();
      const { promise: late, resolve } = Promise.withResolvers<unknown>();
      const work = database.forRequest({ signal: controller.signal }).transaction(async (tx) => {
        controller.abort();
        await ended.promise;
        resolve(failure(tx.execute(sql`select 1`)));
      });
      expect((await failure(work)).kind).toBe('timeout');
      ended.resolve();
      expect(await late).toMatchObject({ kind: 'timeout', message: 'Aborted.' });
      expect((await database.transaction((tx) => tx.execute(sql`select 1`))).rowCount).toBe(1);
    });

    it('and an aborted request end the wait for a URL', async () => {
      const { database } = connect({ url: () => new Promise<string>(() => {}) });
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 20);
      const work = failure(database.forRequest({ signal: controller.signal }).execute(sql`select 1`));
      expect((await work).message).toBe('Aborted.');
    });

    it('and an aborted request end the pause before another try', async () => {
      const url = `postgresql://app:hunter2@127.0.0.1:${await anyFreePort()}/app`;
      const { database } = connect({ url, retry: { baseMs: 600_000 } });
      vi.spyOn(Math, 'random').mockReturnValue(0.05);
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 100);
      const started = performance.now();
      await failure(database.forRequest({ signal: controller.signal }).execute(sql`select 1`));
      expect(performance.now() - started).toBeLessThan(20_000);
    });

    it('of connecting leave alone what may have left with the start-up', async () => {
      const { db } = connect({ timeouts: { connectMs: 3_000 }, retry: { attempts: 1 } });
      proxy.stall(true, reaches === 'gateway' ? 1 : 0); // the upgrade is answered, the start-up is not
      const one = await failure(db.session((session) => session.insert(notes).values({ id: 1, text: '' })));
      const insert = (session: PinnedSession) => session.batch([session.insert(notes).values({ id: 2, text: '' })]);
      const batch = await failure(db.session(insert));
      proxy.stall(false);
      const sent = reaches === 'gateway';
      expect([one.retryable, batch.retryable]).toEqual([!sent, !sent]);
      expect([one.kind, batch.kind]).toEqual(['timeout', sent ? 'outcome-unknown' : 'timeout']);
      await vi.waitFor(async () => expect(await count()).toBe(sent ? 2 : 0), PATIENCE);
    });

    it.each(['deadline', 'abort'])('say by %s that a batch was not sent while it connected', async (way) => {
      const { database } = connect({
        timeouts: { statementMs: way === 'deadline' ? 100 : 10_000 },
        retry: { attempts: 1 },
      });
      const controller = new AbortController();
      proxy.stall(true, 0); // neither the upgrade nor the start-up is answered
      const insert = (session: PinnedSession) => session.batch([session.insert(notes).values({ id: 1, text: '' })]);
      const work = failure(database.forRequest({ signal: controller.signal }).session(insert));
      if (way === 'abort') setTimeout(() => controller.abort('the caller left'), 200);
      expect(await work).toMatchObject({ kind: 'timeout', retryable: true });
      if (way === 'abort') expect((await work).cause).toBe('the caller left');
      proxy.stall(false);
    });

    it('of a statement pass while it connects: it is tried again', async () => {
      const { db } = connect({ timeouts: { statementMs: 500 } });
      proxy.stall(true, 0);
      const work = db.transaction((tx) => tx.execute(sql`select 1 as one`)).then(({ rows }) => rows, String);
      setTimeout(() => {
        proxy.stall(false);
        proxy.reset(); // it is tried again
      }, 2_250);
      expect(await work).toEqual([{ one: 1 }]);
    });

    it('and an aborted request stop what waits for its connection', async () => {
      const { database } = connect();
      for (let ms = 0; ms < 20; ms += 2) {
        const controller = new AbortController();
        const request = database.forRequest({ signal: controller.signal });
        setTimeout(() => controller.abort(), ms);
        await failure(request.session((session) => session.execute(sleep)));
      }
      await test.untilSleeping(0);
    });

    it('and an aborted request stop a statement that reaches the server after the request to stop it', async () => {
      const { database } = connect();
      const untilRolledBack = await test.untilRolledBack();
      const controller = new AbortController();
      const work = database.forRequest({ signal: controller.signal }).session(async (session) => {
        await session.execute(sql`select 1`);
        void proxy.delay(300).then(() => controller.abort());
        await session.execute(sleep);
      });
      expect((await failure(work)).kind).toBe('timeout');
      await database.close(); // not before the statement has come and gone
      await untilRolledBack();
      await test.untilSleeping(0);
    });

    const silences = reaches === 'gateway' ? [0, 1] : [0]; // the upgrade is answered, or is not
    it.each(silences)('and an aborted request give up a server that answers %i times', async (answers) => {
      const { database } = connect({ timeouts: { connectMs: 1_500 } });
      const controller = new AbortController();
      let before = 0;
      const work = database.forRequest({ signal: controller.signal }).session(async (session) => {
        await session.execute(sql`select 1`);
        before = proxy.connections();
        proxy.stall(true, answers);
        void test.untilSleeping().then(() => controller.abort());
        await session.execute(sleep);
      });
      expect((await failure(work)).kind).toBe('timeout');
      await database.close();
      expect(proxy.connections()).toBe(before + 1); // one request to stop it
      await test.untilSleeping(0);
    });

    it('leave a session that lost the answer to its first write alone, whatever its callback still does', async () => {
      const { db } = connect();
      let runs = 0;
      const work = db.session(async (session) => {
        const id = ++runs;
        const insert = session.insert(notes).values({ id, text: 'once' });
        const [pending] = await test.whileLocked('its answer', async () => {
          const wait = sql`select pg_advisory_xact_lock(hashtextextended('its answer', 0))`;
          const batch = session.batch([insert, session.execute(wait)]).catch((error: unknown) => error);
          await test.untilWaiting();
          proxy.loseAnswers(true);
          return [batch]; // not waited for here
        });
        const error = await pending;
        await new Promise((resolve) => setTimeout(resolve, 20)); // cleaning up
        throw error;
      });
      expect(await failure(work)).toMatchObject({ kind: 'outcome-unknown', retryable: false });
      expect(runs).toBe(1);
    });

    it('can be longer than a timer waits', async () => {
      const { db } = connect({ timeouts: { connectMs: Infinity, statementMs: Infinity, operationMs: Infinity } });
      const slow = sql`select pg_sleep(0.1)`;
      await Promise.all([db.execute(slow), db.batch([db.execute(slow)]), db.transaction((tx) => tx.execute(slow))]);
    });

    it('and aborted requests keep nothing of what waited for a connection, however long that is in use', async () => {
      const { database } = connect({ maxSockets: 1 });
      const one = (tx: Pick<Database, 'execute'>) => tx.execute(sql`select 1`);
      const errors: WeakRef<DatabaseError>[] = [];
      await database.transaction(async (tx) => {
        await one(tx);
        for (let i = 0; i < 20; i++) {
          const controller = new AbortController();
          setTimeout(() => controller.abort());
          const request = database.forRequest({ signal: controller.signal });
          errors.push(new WeakRef(await failure(request.transaction(one))));
        }
        await untilCollected(errors);
      });
      expect(errors).toHaveLength(20);
    });

    it('of a session that lives long keep none of the errors that its callback has dealt with', async () => {
      const { database } = connect();
      const errors: WeakRef<DatabaseError>[] = [];
      await database.session(async (session) => {
        await session.execute(sql`select 1`);
        for (let i = 0; i < 20; i++) {
          const thrown = await failure(session.execute(sql`select 1 / 0`));
          errors.push(new WeakRef(thrown));
        }
        await untilCollected(errors);
      });
      expect(errors).toHaveLength(20);
    });

    it('are the default where they are undefined', async () => {
      const { db } = connect({ timeouts: { connectMs: undefined, statementMs: undefined, operationMs: undefined } });
      const limit = sql`select current_setting('statement_timeout') as value`;
      const [{ rows }] = await db.batch([db.execute(limit)]);
      expect(rows).toEqual([{ value: '30s' }]);
    });

    it('and an aborted request end a session that waits for something that is no promise of its own', async () => {
      const { database } = connect();
      const controller = new AbortController();
      // oxlint-disable-next-line unicorn/no-thenable -- as drizzle's builders are
      const never: PromiseLike<void> = { then: () => never as never };
      const work = database.forRequest({ signal: controller.signal }).session(() => never as Promise<void>);
      setTimeout(() => controller.abort(), 20);
      expect((await failure(work)).kind).toBe('timeout');
    });

    it('of a request that is aborted already are not waited for', async () => {
      const { database } = connect();
      const callback = vi.fn(async () => {});
      await failure(database.forRequest({ signal: AbortSignal.abort() }).transaction(callback));
      expect(callback).not.toHaveBeenCalled();
    });

    it('that have passed before the beginning open nothing', async () => {
      const { database } = connect();
      const before = proxy.connections();
      const db = database.forRequest({ signal: AbortSignal.abort() });
      for (const [, run] of [...operations, writing]) expect((await failure(run(db))).kind).toBe('timeout');
      expect(proxy.connections()).toBe(before);
    });
  });

  describe('an answer that never came', () => {
    it('leaves a one-shot write alone, and says that it may have happened', async () => {
      const { db } = connect();
      await db.execute(sql`select 1`);
      proxy.loseAnswers(true);
      const error = await failure(db.insert(notes).values({ id: 1, text: 'once' }));
      expect(error).toMatchObject({ kind: 'connection', retryable: false });
      expect(events).toHaveLength(2);
    });

    it('leaves a batch of unknown outcome, unless it only reads: then it is run again', async () => {
      const { db } = connect({}, () => proxy.loseAnswers(false));
      await db.execute(sql`select 1`);
      proxy.loseAnswers(true);
      const write = failure(db.batch([db.insert(notes).values({ id: 1, text: 'perhaps' })]));
      expect((await write).kind).toBe('outcome-unknown');
      await db.execute(sql`select 1`);
      proxy.loseAnswers(true);
      const [{ rows }] = await db.batch([db.execute(sql`select 1 as one`)], { accessMode: 'read only' });
      expect(rows).toEqual([{ one: 1 }]);
    });

    it('to COMMIT leaves the outcome unknown', async () => {
      const { db } = connect();
      let runs = 0;
      const work = db.transaction(async (tx) => {
        runs++;
        await tx.insert(notes).values({ id: 1, text: 'perhaps' });
        proxy.loseAnswers(true);
      });
      expect((await failure(work)).kind).toBe('outcome-unknown');
      expect(runs).toBe(1);
    });

    it('to what only tidies up changes no outcome', async () => {
      const { db } = connect();
      const undone = db.transaction(async (tx) => {
        await tx.insert(notes).values({ id: 1, text: 'never' });
        proxy.loseAnswers(true); // to ROLLBACK
        throw new Error('undo');
      });
      await expect(undone).rejects.toThrow('undo');
      proxy.loseAnswers(false);
      const done = db.session(async (session) => {
        await session.insert(notes).values({ id: 2, text: 'once' });
        proxy.loseAnswers(true); // to DISCARD ALL
        return 'done';
      });
      expect(await done).toBe('done');
      await vi.waitFor(async () => expect(await count()).toBe(1), PATIENCE);
    });

    it('in the middle of a transaction ends it, and it is not begun again', async () => {
      const { db } = connect();
      let runs = 0;
      const work = db.transaction(async (tx) => {
        runs++;
        await tx.insert(notes).values({ id: 1, text: 'never' });
        proxy.loseAnswers(true);
        await tx.insert(notes).values({ id: 2, text: 'never' });
      });
      expect((await failure(work)).kind).toBe('connection');
      expect(runs).toBe(1);
      await vi.waitFor(async () => expect(await count()).toBe(0), PATIENCE);
    });

    it('to a write that a transaction that only reads does elsewhere does not begin it again', async () => {
      const { db } = connect();
      await Promise.all([db.execute(sql`select 1`), db.execute(sql`select 1`)]); // over tcp, a connection for each
      const work = db.transaction(
        async (tx) => {
          proxy.loseAnswers(false);
          await tx.execute(sql`select 1`);
          proxy.loseAnswers(true);
          await db.insert(notes).values({ id: (await count()) + 1, text: 'elsewhere' });
        },
        { accessMode: 'read only' },
      );
      expect((await failure(work)).kind).toBe('connection');
      await vi.waitFor(async () => expect(await count()).toBe(1), PATIENCE);
    });

    it('to a transaction that only reads has it begun again', async () => {
      const { db } = connect();
      let begun = 0;
      const work = db.transaction(
        async (tx) => {
          proxy.loseAnswers(false);
          await tx.execute(sql`select 1`);
          proxy.loseAnswers(++begun === 1);
          const [{ rows }] = await Promise.all([tx.execute(sql`select 1 as one`), tx.execute(sql`select 2`)]);
          return rows;
        },
        { accessMode: 'read only' },
      );
      expect(await work).toEqual([{ one: 1 }]);
      expect(begun).toBe(2);
    });

    it('to the first flight of a transaction on a used connection has it replaced, unnoticed', async () => {
      const { db } = connect({ maxSockets: 1 }, () => proxy.loseAnswers(false));
      await db.transaction((tx) => tx.execute(sql`select 1`));
      proxy.loseAnswers(true);
      let runs = 0;
      await db.transaction(async (tx) => {
        runs++;
        await tx.insert(notes).values({ id: 1, text: 'once' });
      });
      expect([runs, await count()]).toEqual([1, 1]);
    });

    it('to a read on a used connection has it replaced, too, and is no try of its own', async () => {
      const sockets: Transports = { ...transports };
      delete sockets.http;
      const options = { transports: sockets, maxSockets: 1, retry: { attempts: 1 } };
      const { db } = connect(options, () => proxy.loseAnswers(false));
      const read = () => db.batch([db.select().from(notes)], { accessMode: 'read only' });
      await read();
      proxy.loseAnswers(true);
      expect(await read()).toEqual([[]]);
    });

    it('to COMMIT in a session leaves the outcome unknown, whatever its callback still does', async () => {
      const { db } = connect();
      const work = db.session(async (session) => {
        await session.execute(sql`select 1`);
        proxy.loseAnswers(true);
        try {
          await session.batch([session.insert(notes).values({ id: 1, text: 'perhaps' })]);
        } finally {
          await new Promise((resolve) => setTimeout(resolve, 20)); // cleaning up
        }
      });
      expect(await failure(work)).toMatchObject({ kind: 'outcome-unknown', retryable: false });
    });

    // Over TCP, nothing leaves with the start-up.
    it.runIf(reaches === 'gateway')('to what left with the start-up does not begin its session again', async () => {
      const { db } = connect();
      let begun = 0;
      const work = db.session(async (session) => {
        begun++;
        proxy.stall(true, 1); // the upgrade is answered, the start-up is not
        const failed = failure(session.insert(notes).values({ id: begun, text: 'once' }));
        await vi.waitFor(async () => expect(await count()).toBe(begun), PATIENCE);
        proxy.stall(false);
        proxy.reset();
        const error = await failed;
        await pause(20); // cleaning up
        throw error;
      });
      expect(await failure(work)).toMatchObject({ kind: 'connection', retryable: false });
      expect(begun).toBe(1);
    });

    it('to a write in a session does not begin it again, even if what ran beside it may be repeated', async () => {
      const { db } = connect({}, ({ error }) => proxy.loseAnswers(error === '40001'));
      let begun = 0;
      const work = db.session((session) =>
        Promise.all([
          session.execute(sql`do $$ begin raise sqlstate '40001'; end $$`),
          session.insert(notes).values({ id: ++begun, text: 'once' }),
        ]),
      );
      expect((await failure(work)).kind).toBe('serialization');
      await vi.waitFor(async () => expect(await count()).toBe(1), PATIENCE);
      expect(begun).toBe(1);
    });

    it('because the connection had gone before COMMIT was sent has the transaction begun again', async () => {
      const opened: Connection[] = [];
      const sockets = (transports as Transports)[socket] as SocketTransport;
      const watched: SocketTransport = {
        open(...args) {
          const connection = sockets.open(...args);
          opened.push(connection);
          return connection;
        },
      };
      const { db } = connect({ transports: { ...transports, [socket]: watched } });
      let runs = 0;
      await db.transaction(async (tx) => {
        await tx.insert(notes).values({ id: ++runs, text: 'once' });
        if (runs > 1) return;
        proxy.reset();
        await vi.waitFor(() => expect(opened[0]?.transactionStatus).toBeUndefined(), PATIENCE);
      });
      expect([runs, await count()]).toEqual([2, 1]);
    });

    it('because the connection was reset meanwhile is no trouble for a transaction', async () => {
      const { db } = connect({ maxSockets: 1 });
      await db.transaction((tx) => tx.execute(sql`select 1`));
      proxy.reset();
      await db.transaction((tx) => tx.insert(notes).values({ id: 1, text: 'once' }));
      expect(await count()).toBe(1);
    });

    it('because all connections were reset meanwhile is no trouble for a transaction either', async () => {
      const { db } = connect({ retry: { attempts: 1 } });
      await db.transaction(async (tx) => {
        await tx.execute(sql`select 1`);
        await db.transaction((other) => other.execute(sql`select 1`));
      });
      proxy.reset();
      await db.transaction((tx) => tx.insert(notes).values({ id: 1, text: 'once' }));
      expect(await count()).toBe(1);
    });
  });

  it('sockets that the server ended as idle while the process was frozen are replaced, for writes too', async () => {
    const role = `role app in database ${new URL(test.url).pathname.slice(1)}`;
    await test.query(`alter ${role} set idle_session_timeout = 1000`);
    const sockets: Transports = { ...transports };
    delete sockets.http;
    const { db } = connect({ transports: sockets, retry: { attempts: 1 } });
    const write = (id: number) =>
      Promise.all([
        db.insert(notes).values({ id, text: 'alone' }),
        db.batch([db.insert(notes).values({ id: id + 1, text: 'in a batch' })]),
      ]);
    try {
      await write(1);
    } finally {
      await test.query(`alter ${role} reset idle_session_timeout`);
    }
    freeze(2_000);
    await write(3);
    expect(await count()).toBe(4);
  });

  it('a session that the server ended as idle is not said to be one that may be repeated', async () => {
    const { db } = connect();
    const work = db.session(async (session) => {
      const limit = session.execute(sql`set idle_session_timeout = 100`);
      await session.batch([limit, session.insert(notes).values({ id: 1, text: 'committed' })]);
      await new Promise(() => {});
    });
    expect(await failure(work)).toMatchObject({ kind: 'unavailable', code: '57P05', retryable: false });
  });

  it('a session that waits is told that its connection is gone', async () => {
    const { db } = connect();
    const listening = Promise.withResolvers<void>();
    const work = failure(
      db.session(async (session) => {
        await session.listen('news', () => {});
        listening.resolve();
        await new Promise(() => {});
      }),
    );
    await listening.promise;
    await test.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' and datname = current_database()`,
    );
    expect(await work).toMatchObject({ kind: 'unavailable', code: '57P01' });
    expect((await db.session((session) => session.execute(sql`select 1`))).rowCount).toBe(1);
  });

  describe('a server that cannot be reached', () => {
    it('is tried again, for writes too: nothing was sent', async () => {
      const { port } = proxy;
      await proxy.close();
      const { db } = connect({ retry: { baseMs: 1_000 } });
      vi.spyOn(Math, 'random').mockReturnValue(1); // the longest waits: 1 s, then 2 s
      const work = Promise.all([
        db.insert(notes).values({ id: 1, text: 'one' }),
        db.batch([db.insert(notes).values({ id: 2, text: 'two' })]),
        db.transaction((tx) => tx.insert(notes).values({ id: 3, text: 'three' })),
        db.session((session) => session.insert(notes).values({ id: 4, text: 'four' })),
      ]);
      await vi.waitFor(() => expect(events.length).toBeGreaterThan(3), { timeout: PATIENCE, interval: 10 });
      proxy = await start(port);
      await work;
      expect(await count()).toBe(4);
    });

    it('is not tried again when there is no time left to wait for that', async () => {
      const { port } = proxy;
      await proxy.close();
      const { db } = connect({ retry: { baseMs: 600_000 }, timeouts: { operationMs: 2_000 } });
      vi.spyOn(Math, 'random').mockReturnValue(1); // the longest wait
      expect((await failure(db.execute(sql`select 1`))).kind).toBe('connection');
      proxy = await start(port);
      expect(events.map(({ error }) => error)).toEqual(['connection']);
    });

    it('is not tried again when the process was frozen until there was no time left', async () => {
      const operationMs = 3_000;
      // In the pause behind ROLLBACK.
      const connected = connect({ retry: { baseMs: 500 }, timeouts: { operationMs } }, () => {
        if (events.length === 2) setTimeout(freeze, 0, operationMs);
      });
      vi.spyOn(Math, 'random').mockReturnValue(1); // the longest wait
      const lost = sql`do $$ begin raise sqlstate '40001'; end $$`;
      expect((await failure(connected.db.transaction((tx) => tx.execute(lost)))).kind).toBe('serialization');
      expect(events.map(({ error }) => error)).toEqual(['40001', undefined]);
    });

    it('is tried again after any part of the longest wait, which doubles', async () => {
      const { port } = proxy;
      await proxy.close();
      const { db } = connect({ retry: { baseMs: 80_000 } }); // for which there is no time
      vi.spyOn(Math, 'random').mockReturnValueOnce(0).mockReturnValueOnce(0.5);
      await failure(db.execute(sql`select 1`));
      proxy = await start(port);
      expect(events).toHaveLength(2);
    });

    it('is not sent a multiple of its traffic, however much of that it answered before', async () => {
      const { db } = connect({ retry: { baseMs: 1, ratio: 0.5 } });
      for (let i = 0; i < 40; i++) await db.execute(sql`select 1`);
      const { port } = proxy;
      await proxy.close();
      events = [];
      for (let i = 0; i < 30; i++) await failure(db.execute(sql`select 1`));
      proxy = await start(port);
      expect(events.length).toBeGreaterThan(30 + 10);
      expect(events.length).toBeLessThanOrEqual(30 + 10 + 15); // what was saved, and half of the traffic
    });
  });

  it('what a procedure says is not taken for the word of a server that cannot be reached', async () => {
    const { db } = connect();
    await test.query(`create procedure write_and_say(said text, code text) language plpgsql as
      $$ begin insert into notes values ((select count(*) from notes), ''); commit; raise exception using message = said, errcode = code; end $$`);
    for (const [said, code, kind] of [
      ['too many notes', 'XX000', 'query'],
      ['too many notes', '53000', 'unavailable'],
      ['not allowed', 'XX000', 'query'],
    ] as const) {
      await test.query('truncate notes');
      expect(await failure(db.execute(sql`call write_and_say(${said}, ${code})`))).toMatchObject({
        kind,
        retryable: false,
      });
      expect(await count()).toBe(1);
    }
  });

  it('a session that tidies up is tried again, too, when it never had a connection', async () => {
    const { database } = connect({ url: `postgresql://app:hunter2@127.0.0.1:${await anyFreePort()}/app` });
    let begun = 0;
    const work = database.session(async (session) => {
      begun++;
      try {
        await session.execute(sql`select 1`);
      } finally {
        await pause(20);
      }
    });
    expect(await failure(work)).toMatchObject({ kind: 'connection', retryable: true });
    expect(begun).toBe(3);
  });

  it('a session is not tried again where its transaction lost: what it did elsewhere would be done again', async () => {
    const { db } = connect();
    let begun = 0;
    const work = db.session(async (session) => {
      await db.insert(notes).values({ id: ++begun, text: 'once' });
      await session.transaction((tx) => tx.execute(sql`do $$ begin raise sqlstate '40001'; end $$`));
    });
    expect((await failure(work)).kind).toBe('serialization');
    expect(begun).toBe(1);
  });

  it('a session that has had a result is not tried again', async () => {
    const { db } = connect();
    let begun = 0;
    const work = db.session(async (session) => {
      begun++;
      await session.execute(sql`select 1`);
      await session.execute(sql`do $$ begin raise sqlstate '42501'; end $$`);
    });
    expect((await failure(work)).kind).toBe('auth');
    expect(begun).toBe(1);
  });

  it('tries leave nothing behind on the signal of a request', async () => {
    const { database } = connect({ url: `postgresql://app:hunter2@127.0.0.1:${await anyFreePort()}/app` });
    const { signal } = new AbortController();
    await failure(database.forRequest({ signal }).execute(sql`select 1`));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('credentials that are refused are tried once', async () => {
    const { db } = connect({ url: test.url.replace(/:[0-9a-f]+@/, ':wrong@') });
    expect((await failure(db.execute(sql`select 1`))).kind).toBe('auth');
    expect((await failure(db.transaction((tx) => tx.execute(sql`select 1`)))).kind).toBe('auth');
    expect(events).toHaveLength(2);
  });

  describe('a transaction that lost against another', () => {
    it('is run again, callback and all', async () => {
      const { db } = connect();
      await test.query(`insert into notes values (1, '0')`);
      let runs = 0;
      await db.transaction(
        async (tx) => {
          runs++;
          const [note] = await tx.select().from(notes);
          if (runs === 1) await test.query(`update notes set text = '10'`);
          await tx.update(notes).set({ text: String(Number(note?.text) + 1) });
        },
        { isolationLevel: 'repeatable read' },
      );
      expect(runs).toBe(2);
      expect(await test.query('select text from notes')).toEqual([{ text: '11' }]);
    });

    it('in a deadlock is, too', async () => {
      const { db } = connect();
      await test.query(`alter database "${new URL(test.url).pathname.slice(1)}" set deadlock_timeout = '50ms'`);
      await test.query(`insert into notes values (1, ''), (2, '')`);
      const locked: number[] = [];
      const work = (first: number, second: number) =>
        db.transaction(async (tx) => {
          const append = (id: number) =>
            tx.execute(sql`update notes set text = text || ${String(first)} where id = ${id}`);
          await append(first);
          locked.push(first);
          await vi.waitFor(() => expect(locked.length).toBeGreaterThan(1), PATIENCE);
          await append(second);
        });
      await Promise.all([work(1, 2), work(2, 1)]);
      expect(locked.length).toBeGreaterThan(2);
      expect(await test.query('select length(text)::int as length from notes')).toEqual([{ length: 2 }, { length: 2 }]);
    });
  });
});
