import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { createDatabase, type Database, type Queryable, type Transaction } from '../../src/db/database.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';
import { CREATE_NOTES, failure, notes, WAYS } from './ways.ts';

/** What is started together, or outlives what it was started in, does not touch its neighbours. */
describe.each(Object.entries(WAYS))('over %s', (_, { transports, reaches }) => {
  let test: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    const { gatewayPort, postgresPort } = inject('stack');
    test = await createEmptyDatabase(reaches === 'gateway' ? gatewayPort : postgresPort);
    await test.query(CREATE_NOTES);
    database = createDatabase({ url: test.url, schema: { notes }, transports, sockets: 'instance', maxSockets: 2 });
  });

  afterEach(() => test.query('truncate notes'));

  afterAll(async () => {
    await database.close();
    await test.close();
  });

  const add = (to: Queryable | Transaction, id: number) => to.insert(notes).values({ id, text: '' }).execute();
  const fail = (on: Queryable | Transaction) => on.execute(sql`select 1 / 0`).execute();
  const backend = async (on: Queryable | Transaction) =>
    (await on.execute(sql`select pg_backend_pid() as pid`)).rows[0]?.['pid'];
  const ids = async () => (await test.query('select id from notes order by id')).map(({ id }) => id);

  it.each(['instance', 'request'] as const)(
    'what runs when the database is closed may need one more connection (sockets: %s)',
    async (sockets) => {
      const timeouts = { operationMs: 15_000 };
      const whole = createDatabase({ url: test.url, schema: { notes }, transports, sockets, timeouts });
      const closing = sockets === 'request' ? whole.forRequest({}) : whole;
      const begun = Promise.withResolvers<void>();
      const closed = Promise.withResolvers<void>();
      const work = closing.transaction(async (tx) => {
        await add(tx, 1);
        begun.resolve();
        await closed.promise;
        await closing.transaction((another) => add(another, 2));
      });
      await begun.promise;
      const drained = closing.close();
      closed.resolve();
      await Promise.all([work, drained]);
      expect(await ids()).toEqual([1, 2]);
    },
  );

  it.each([
    ['request', 4],
    ['instance', 10],
  ] as const)('the transactions of one %s have at most %i connections', async (sockets, most) => {
    const whole = createDatabase({ url: test.url, schema: {}, transports, sockets });
    const db = sockets === 'request' ? whole.forRequest({}) : whole;
    const pids = await Promise.all(Array.from({ length: 12 }, () => db.transaction(backend)));
    expect(new Set(pids).size).toBe(most);
    await db.close();
  });

  it('what is first asked of a database after it was closed leaves nothing open', async () => {
    const db = createDatabase({ url: test.url, schema: {}, transports, sockets: 'request' }).forRequest({});
    await db.close();
    await test.untilClosed(await db.transaction(backend));
  });

  it('closing twice waits for what runs, too, and leaves nothing open', async () => {
    const db = createDatabase({ url: test.url, schema: {}, transports, sockets: 'request' }).forRequest({});
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    const work = db.transaction(async (tx) => {
      const pid = await backend(tx);
      begun.resolve();
      await end.promise;
      return pid;
    });
    await begun.promise;
    const closed = [db.close(), db.close()];
    setTimeout(end.resolve); // the first moment that is not frozen
    await Promise.all(closed);
    await test.untilClosed(await work);
  });

  describe('in a transaction', () => {
    it('a failure that was caught rolls all of its level back, whatever nested one failed with it', async () => {
      await database.transaction(async (tx) => {
        await add(tx, 1);
        const nested = tx.transaction(async (inner) => {
          await add(inner, 2);
          await Promise.allSettled([fail(inner), inner.transaction((innermost) => add(innermost, 3))]);
        });
        const error = await failure(nested);
        expect(error.message).toContain('A failure was caught');
        expect(error.cause).toMatchObject({ code: '22012' });
        await tx.transaction((inner) => add(inner, 4));
      });
      expect(await ids()).toEqual([1, 4]);
    });

    it('a query that nobody awaits is rolled back with it', async () => {
      const work = database.transaction(async (tx) => {
        add(tx, 1).catch(() => {});
        throw new Error('at once');
      });
      await expect(work).rejects.toThrow('at once');
      await database.transaction((tx) => add(tx, 2));
      expect(await ids()).toEqual([2]);
    });

    it('the cause that is named is the one that was not undone', async () => {
      const work = database.transaction(async (tx) => {
        await add(tx, 1);
        await tx.transaction((inner) => add(inner, 1)).catch(() => {});
        await fail(tx).catch(() => {});
      });
      expect((await failure(work)).cause).toMatchObject({ code: '22012' });
      expect(await ids()).toEqual([]);
    });
  });

  describe('in a session', () => {
    it('a nested transaction that outlives its outer one leaves nothing behind', async () => {
      await database.session(async (session) => {
        const outlived = () =>
          session.transaction((tx) =>
            Promise.all([
              tx.transaction(async (inner) => {
                await inner.execute(sql`select pg_sleep(0.1)`);
                throw new Error('inner');
              }),
              Promise.reject(new Error('outer')),
            ]),
          );
        await expect(outlived()).rejects.toThrow('outer');
        await add(session, 1);
        await expect(outlived()).rejects.toThrow('outer');
        await session.transaction((tx) => add(tx, 2));
        await expect(outlived()).rejects.toThrow('outer');
        await session.batch([session.insert(notes).values({ id: 3, text: '' })]);
      });
      expect(await ids()).toEqual([1, 2, 3]);
    });

    it('a query that still waits for its turn is rolled back with its transaction', async () => {
      await database.session(async (session) => {
        const slow = session.execute(sql`select pg_sleep(0.1)`).execute();
        const work = session.transaction(async (tx) => {
          add(tx, 1).catch(() => {});
          throw new Error('at once');
        });
        await expect(work).rejects.toThrow('at once');
        await Promise.all([slow, add(session, 2), session.transaction((tx) => add(tx, 3))]);
      });
      expect(await ids()).toEqual([2, 3]);
    });

    it('a transaction whose nested one left a query unawaited ends before what comes after it', async () => {
      await database.session(async (session) => {
        const slow = session.execute(sql`select pg_sleep(0.1)`).execute();
        await session.transaction(async (tx) => {
          const nested = tx.transaction(async (inner) => {
            add(inner, 1).catch(() => {});
          });
          expect((await failure(nested)).message).toContain('not awaited');
        });
        await Promise.all([slow, add(session, 2)]);
      });
      expect(await ids()).toEqual([2]);
    });

    it('a transaction that outlives it does not open it again', async () => {
      const kept = await database.session(async (session) => {
        const outlived = session.transaction(async () => {
          await sleep(20);
          throw new Error('late');
        });
        return { session, outlived };
      });
      await expect(kept.outlived).rejects.toThrow('late');
      expect((await failure(kept.session.execute(sql`select 1`).execute())).message).toContain('has ended');
    });

    it('a batch of one that has ended takes no place', async () => {
      const one = createDatabase({ url: test.url, schema: {}, transports, sockets: 'instance', maxSockets: 1 });
      const kept = await one.session(async (session) => ({ session }));
      const batch = kept.session.batch([kept.session.execute(sql`select 1`)]);
      expect((await failure(batch)).message).toContain('has ended');
      expect((await one.transaction((tx) => tx.execute(sql`select 1`))).rowCount).toBe(1);
      await one.close();
    });

    it('a batch that fails fails alone', async () => {
      await database.session(async (session) => {
        const failed = failure(session.batch([session.execute(sql`select pg_sleep(0.1), 1 / 0`)]));
        await Promise.all([
          session.batch([session.insert(notes).values({ id: 1, text: '' })]),
          add(session, 2),
          sleep(20).then(() => session.transaction((tx) => add(tx, 3))),
        ]);
        expect((await failed).code).toBe('22012');
      });
      expect(await ids()).toEqual([1, 2, 3]);
    });

    it('a transaction that was begun by hand is not ended by another', async () => {
      await database.session(async (session) => {
        await session.execute(sql`begin`);
        await add(session, 1);
        const batch = session.batch([session.insert(notes).values({ id: 2, text: '' })]);
        expect((await failure(batch)).message).toContain('by hand');
        const work = session.transaction((tx) => add(tx, 3));
        expect((await failure(work)).message).toContain('by hand');
        expect((await session.execute(sql`commit`)).command).toBe('COMMIT');
      });
      expect(await ids()).toEqual([1]);
    });

    it('nor does a query that goes beside its first one join what was begun by hand', async () => {
      await database.session(async (session) => {
        await session.execute(sql`begin`);
        const both = session.transaction((tx) => Promise.allSettled([add(tx, 1), add(tx, 2)]));
        expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
        expect((await session.execute(sql`commit`)).command).toBe('COMMIT');
      });
      expect(await ids()).toEqual([]);
    });

    it('nor is it rolled back with one that fails while its first query still waits', async () => {
      await database.session(async (session) => {
        await session.execute(sql`begin`);
        await add(session, 1);
        const slow = session.execute(sql`select pg_sleep(0.1)`).execute();
        const work = session.transaction(async (tx) => {
          add(tx, 2).catch(() => {});
          throw new Error('at once');
        });
        await expect(work).rejects.toThrow('at once');
        await slow;
        expect((await session.execute(sql`commit`)).command).toBe('COMMIT');
      });
      expect(await ids()).toEqual([1]);
    });

    it('a query that is sent while a transaction is rolled back comes behind that', async () => {
      await database.session(async (session) => {
        let meanwhile: Promise<unknown> | undefined;
        const work = session.transaction(async (tx) => {
          await add(tx, 1);
          // When the ROLLBACK has left, and has no answer.
          setImmediate(() => {
            meanwhile = add(session, 2);
          });
          throw new Error('undo');
        });
        await expect(work).rejects.toThrow('undo');
        await meanwhile;
      });
      expect(await ids()).toEqual([2]);
    });

    it('a batch that was not sent when the request was aborted is not of unknown outcome', async () => {
      const controller = new AbortController();
      const db = database.forRequest({ signal: controller.signal });
      let batch: Promise<unknown> = Promise.resolve();
      const work = db.session(async (session) => {
        await session.execute(sql`select 1`);
        const slow = session.execute(sql`select pg_sleep(60)`).execute();
        batch = failure(session.batch([session.insert(notes).values({ id: 1, text: '' })]));
        setTimeout(() => controller.abort(), 100);
        await slow;
      });
      expect((await failure(work)).kind).toBe('timeout');
      expect(await batch).toMatchObject({ kind: 'timeout' });
      expect(await ids()).toEqual([]);
    });
  });

  /** What was asked for, and whether it resolved: a write, or what is nested. */
  type Step = { resolved: boolean } & ({ id: number } | { steps: Step[] });

  it.each(['transaction', 'session'] as const)('what is written is what resolved, in any %s', async (kind) => {
    let seed = 20_261_123;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    let lastId = 0;

    /** One thing after another, some of them side by side, some of their failures caught. */
    const work = async (tx: Transaction, steps: Step[], depth: number): Promise<void> => {
      const one = (): Promise<unknown> => {
        const dice = random(10);
        if (dice < 5) {
          const step: Step = { id: ++lastId, resolved: false };
          steps.push(step);
          return add(tx, step.id).then(() => (step.resolved = true));
        }
        if (dice < 6) return fail(tx);
        if (dice < 7 || depth === 3) return sleep(random(3));
        const step = { steps: [] as Step[], resolved: false };
        steps.push(step);
        return tx.transaction((inner) => work(inner, step.steps, depth + 1)).then(() => (step.resolved = true));
      };
      for (let count = 1 + random(4); count > 0; count--) {
        const running = Array.from({ length: random(3) === 0 ? 2 : 1 }, one);
        const all = random(2) === 0 ? Promise.all(running) : Promise.allSettled(running);
        await (random(2) === 0 ? all : all.catch(() => {}));
      }
    };
    const expected = (steps: Step[]): number[] =>
      steps.filter(({ resolved }) => resolved).flatMap((step) => ('id' in step ? [step.id] : expected(step.steps)));

    for (let round = 0; round < 60; round++) {
      const roots: Step[] = [];
      const transaction = async (on: Pick<Database, 'transaction'>) => {
        const root = { steps: [] as Step[], resolved: false };
        roots.push(root);
        await on
          .transaction((tx) => work(tx, root.steps, 1))
          .then(() => (root.resolved = true))
          .catch(() => {});
      };
      if (kind === 'transaction') await transaction(database);
      else {
        await database.session(async (session) => {
          await transaction(session);
          await session.execute(sql`select 1`);
          await transaction(session);
        });
      }
      expect(await ids(), `round ${round}`).toEqual(expected(roots).toSorted((a, b) => a - b));
      await test.query('truncate notes');
    }
  });
});
