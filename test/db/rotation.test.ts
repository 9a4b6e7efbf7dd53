import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createDatabase, type Database, type PinnedSession } from '../../src/db/database.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { CREATE_NOTES, failure, notes, WAYS } from './ways.ts';

describe.each(Object.entries(WAYS))('credentials that change, over %s', (_, { transports, reaches }) => {
  let test: TestDatabase;

  beforeAll(async () => {
    test = await createEmptyDatabase(reaches === 'gateway' ? undefined : inject('stack').postgresPort);
    await test.query(CREATE_NOTES);
  });

  afterAll(() => test.close());

  /** A login role with the rights of `app`, and its URL. */
  const createRole = async () => {
    const role = `app_${randomBytes(4).toString('hex')}`;
    const password = randomBytes(8).toString('hex');
    await test.query(`create role ${role} login password '${password}' in role app`);
    const url = new URL(test.url);
    url.username = role;
    url.password = password;
    return { role, url: url.href };
  };

  it('under traffic lose no request', async () => {
    const [first, second] = [await createRole(), await createRole()];
    let current = first.url;
    const url = vi.fn(async () => current);
    const database = createDatabase({ url, schema: { notes }, transports, sockets: 'instance', maxSockets: 4 });
    const stop = new AbortController();
    let next = 0;
    const errors: unknown[] = [];
    const client = async () => {
      while (!stop.signal.aborted) {
        const db = database.forRequest({});
        const ids = [next++, next++, next++, next++] as const;
        const [one, two, three, four] = ids.map((id) => ({ id, text: 'kept' }));
        try {
          if (!one || !two || !three || !four) throw new Error('four');
          await db.insert(notes).values(one);
          await db.batch([db.insert(notes).values(two), db.select().from(notes).limit(1)]);
          await db.transaction(async (tx) => {
            await tx.insert(notes).values(three);
            await tx.insert(notes).values(four);
          });
        } catch (error) {
          errors.push(error);
        }
      }
    };
    const clients = Array.from({ length: 6 }, client);
    const progress = async () => {
      const before = next;
      await vi.waitFor(() => expect(next).toBeGreaterThan(before + 100), 3 * PATIENCE);
    };
    await progress();
    current = second.url;
    await test.query(`drop role ${first.role}`);
    await progress();
    stop.abort();
    await Promise.all(clients);
    expect(errors).toEqual([]);
    expect(await test.query('select from notes')).toHaveLength(next);
    // Asked at first, and by whoever was refused; not for every request.
    expect(url.mock.calls.length).toBeLessThan(10);
    await database.close();
    await test.query(`drop role ${second.role}`);
  });

  it('are asked for once more when they are refused, and no more', async () => {
    const wrong = new URL(test.url);
    wrong.password = 'wrong';
    const url = vi.fn(() => wrong.href);
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance' });
    expect((await failure(database.execute(sql`select 1`))).kind).toBe('auth');
    expect(url).toHaveBeenCalledTimes(2);
    await database.close();
  });

  it('of a role that may log in no more are asked for once more', async () => {
    const [first, second] = [await createRole(), await createRole()];
    await test.query(`alter role ${first.role} nologin`);
    const works: ((database: Database) => PromiseLike<unknown>)[] = [
      (database) => database.execute(sql`select 1`),
      (database) => database.batch([database.execute(sql`select 1`)]),
      (database) => database.transaction((tx) => tx.execute(sql`select 1`)),
      (database) => database.session((session) => session.execute(sql`select 1`)),
      (database) =>
        database.session(async (session) => {
          try {
            await session.execute(sql`select 1`);
          } finally {
            await pause(20); // tidies up
          }
        }),
    ];
    for (const work of works) {
      const url = vi.fn<() => string>().mockReturnValueOnce(first.url).mockReturnValue(second.url);
      const database = createDatabase({ url, schema: {}, transports, sockets: 'instance' });
      await work(database);
      expect(url).toHaveBeenCalledTimes(2);
      await database.close();
    }
  });

  it('of a role whose rights are gone are asked for once more, by a session too', async () => {
    const [first, second] = [await createRole(), await createRole()];
    await test.query(`revoke app from ${first.role}`);
    await test.query(`grant connect on database ${new URL(first.url).pathname.slice(1)} to ${first.role}`);
    const works: ((session: PinnedSession) => PromiseLike<unknown>)[] = [
      (session) => session.execute(sql`select from notes`),
      (session) => session.transaction((tx) => tx.execute(sql`select from notes`)),
    ];
    for (const work of works) {
      const url = vi.fn<() => string>().mockReturnValueOnce(first.url).mockReturnValue(second.url);
      const database = createDatabase({ url, schema: {}, transports, sockets: 'instance' });
      await database.session(async (session) => work(session));
      expect(url).toHaveBeenCalledTimes(2);
      await database.close();
    }
  });

  it('at once for many leave no more connections open than there may be, and closing waits for those in use', async () => {
    const [first, second] = [await createRole(), await createRole()];
    let current = first.url;
    const url = async () => current;
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', maxSockets: 2 });
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const order: string[] = [];
    const before = database.transaction(async (tx) => {
      await tx.execute(sql`select 1`);
      begun.resolve();
      await go.promise;
      await tx.execute(sql`select 1`);
      order.push('done');
    });
    await begun.promise;
    current = second.url;
    await test.query(`alter role ${first.role} password 'changed'`);
    const sleep = () => database.transaction((tx) => tx.execute(sql`select pg_sleep(0.1)`));
    let most = 0;
    const watch = async () => {
      const open = await test.query(
        `select from pg_stat_activity where usename = '${second.role}' and datname = current_database()`,
      );
      most = Math.max(most, open.length);
    };
    const watching = setInterval(() => void watch(), 20);
    await Promise.all(Array.from({ length: 12 }, sleep)).finally(() => clearInterval(watching));
    await watch(); // two are kept
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(2);
    const closed = database.close().then(() => order.push('closed'));
    go.resolve();
    await Promise.all([before, closed]);
    expect(order).toEqual(['done', 'closed']);
    const left = () => test.query(`select from pg_stat_activity where usename in ('${first.role}', '${second.role}')`);
    await vi.waitFor(async () => expect(await left()).toEqual([]), PATIENCE);
  });

  it('that are others each time leave no more connections open than there may be', async () => {
    await test.query('create table forbidden ()');
    let asked = 0;
    const url = () => `${test.url}?asked=${asked++}`;
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', maxSockets: 2 });
    const forbidden = () =>
      database.transaction(async (tx) => {
        await tx.execute(sql`select 1`);
        await tx.execute(sql`select from forbidden`);
      });
    for (let i = 0; i < 10; i++) expect((await failure(forbidden())).code).toBe('42501');
    expect(asked).toBe(11);
    const open = () =>
      test.query(`select from pg_stat_activity where usename = 'app' and datname = current_database()`);
    await vi.waitFor(async () => expect((await open()).length).toBeLessThanOrEqual(2), PATIENCE);
    await database.close();
  });

  it('are not asked for, nor is a callback run again, for what another database refuses', async () => {
    await test.query('create table secret ()');
    let asked = 0;
    const url = () => `${test.url}?asked=${asked++}`;
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance' });
    const another = createDatabase({ url: test.url, schema: {}, transports, sockets: 'instance' });
    let begun = 0;
    const work = database.transaction(async (tx) => {
      begun++;
      await tx.execute(sql`select 1`);
      await another.execute(sql`select from secret`);
    });
    expect((await failure(work)).kind).toBe('auth');
    expect([begun, asked]).toEqual([1, 1]);
    await Promise.all([database.close(), another.close()]);
  });

  it('that cannot be had after a replica refused them are not asked for without a pause', async () => {
    const url = vi.fn<() => Promise<string>>(async () => {
      if (url.mock.calls.length > 1) throw new Error('the secret store is away');
      return test.url;
    });
    const replicaUrl = test.url.replace(/:[0-9a-f]+@/, ':wrong@');
    const timeouts = { operationMs: 2_000 };
    const database = createDatabase({ url, replicaUrl, schema: {}, transports, sockets: 'instance', timeouts });
    expect((await failure(database.replica.$count(sql`pg_class`))).kind).toBe('connection');
    expect(url.mock.calls.length).toBeLessThan(6);
    await database.close();
  });

  it('that are waited for in vain are a failure, and asked for again', async () => {
    const url = vi
      .fn<() => Promise<string>>()
      .mockReturnValueOnce(new Promise(() => {}))
      .mockResolvedValue(test.url);
    const timeouts = { connectMs: 3_000 };
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', timeouts });
    expect((await failure(database.replica.$count(sql`pg_class`))).kind).toBe('timeout');
    expect((await database.execute(sql`select 1`)).rowCount).toBe(1);
    await database.close();
  });

  it('that cannot be had are a failure without their details, and asked for again', async () => {
    const url = vi
      .fn<() => Promise<string>>()
      .mockRejectedValueOnce(new Error('the secret store is away'))
      .mockResolvedValue(test.url);
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', retry: { attempts: 1 } });
    const error = await failure(database.execute(sql`select 1`));
    expect(error).toMatchObject({ kind: 'connection', retryable: true });
    expect([error.message, error.cause]).toEqual([
      'Finding the database URL failed',
      new Error('the secret store is away'),
    ]);
    expect((await database.execute(sql`select 1`)).rowCount).toBe(1);
    await database.close();
  });
});
