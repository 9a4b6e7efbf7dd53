import { createServer } from 'node:net';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { startListening } from '../../local/start-listening.ts';
import { createDatabase, type Database, type DatabaseOptions } from '../../src/db/database.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';
import { CREATE_NOTES, failure, notes, WAYS } from './ways.ts';

const schema = { notes };

describe.each(Object.entries(WAYS))('reads that may lag, over %s', (_, { transports, reaches }) => {
  let primary: TestDatabase;
  /** Lags for ever: a database of its own, so that what is read tells where. */
  let replica: TestDatabase;
  let database: Database<typeof schema>;

  beforeAll(async () => {
    const port = reaches === 'gateway' ? undefined : inject('stack').postgresPort;
    [primary, replica] = await Promise.all([createEmptyDatabase(port), createEmptyDatabase(port)]);
    await Promise.all([primary, replica].map((server) => server.query(CREATE_NOTES)));
    await primary.query(`insert into notes values (1, 'primary')`);
    await replica.query(`insert into notes values (1, 'replica')`);
  });

  beforeEach(async () => {
    await database?.close();
    database = connect(replica.url);
  });

  afterAll(async () => {
    await database.close();
    await Promise.all([primary.close(), replica.close()]);
  });

  const connect = (replicaUrl?: string, timeouts?: DatabaseOptions<typeof schema>['timeouts']) =>
    createDatabase({ url: primary.url, replicaUrl, schema, transports, sockets: 'instance', timeouts });

  const read = async ({ replica: from }: Database<typeof schema>) => (await from.select().from(notes))[0]?.text;

  it('come from the replica, in every shape', async () => {
    const db = database.forRequest({});
    expect(await read(db)).toBe('replica');
    expect(await db.replica.query.notes.findFirst()).toEqual({ id: 1, text: 'replica' });
    expect(await db.replica.$count(notes)).toBe(1);
    expect(await db.select().from(notes)).toEqual([{ id: 1, text: 'primary' }]);
    expect(await read(db)).toBe('replica');
  });

  it('are all that can be asked of it', () => {
    // @ts-expect-error -- a replica takes no writes
    void (() => database.replica.insert(notes));
    // @ts-expect-error -- nor transactions
    void (() => database.replica.transaction);
    // @ts-expect-error -- nor statements that may be anything
    void (() => database.replica.execute(sql`select 1`));
  });

  it.each<[string, (db: Database<typeof schema>) => PromiseLike<unknown>]>([
    ['one-shot', (db) => db.update(notes).set({ text: 'primary' })],
    ['statement', (db) => db.execute(sql`with n as (update notes set text = 'primary') select 1`)],
    ['batch', (db) => db.batch([db.update(notes).set({ text: 'primary' })])],
    ['transaction', (db) => db.transaction((tx) => tx.update(notes).set({ text: 'primary' }))],
    ['session', (db) => db.session((session) => session.update(notes).set({ text: 'primary' }))],
    ['write that failed', (db) => failure(db.insert(notes).values({ id: 1, text: 'twice' }))],
  ])('come from the primary after a %s in the same request', async (_write, write) => {
    const db = database.forRequest({});
    expect(await read(db)).toBe('replica');
    await write(db);
    expect(await read(db)).toBe('primary');
    expect(await read(database.forRequest({}))).toBe('replica');
  });

  it('stay with the replica after what only read', async () => {
    const db = database.forRequest({});
    await db.select().from(notes);
    await db.select().from(notes).union(db.select().from(notes)); // which begins with a parenthesis
    await db.batch([db.select().from(notes)], { accessMode: 'read only' });
    await db.transaction((tx) => tx.select().from(notes), { accessMode: 'read only' });
    expect(await read(db)).toBe('replica');
  });

  it('come from the primary when there is no replica', async () => {
    const alone = connect();
    expect(await read(alone)).toBe('primary');
    await alone.close();
  });

  it('come from the primary when the replica does not answer, which is not asked again for a while', async () => {
    const away = new URL(replica.url);
    away.port = String(await anyFreePort());
    const half = connect(away.href);
    const errors: (string | undefined)[] = [];
    const db = half.forRequest({ onQuery: ({ error }) => errors.push(error) });
    expect([await read(db), await read(db)]).toEqual(['primary', 'primary']);
    expect(errors).toEqual(['connection', undefined, undefined]);
    await half.close();
  });

  it('come from the primary when there was no time left to find out that the replica does not answer', async () => {
    const silent = createServer(() => {});
    const away = new URL(replica.url);
    away.port = String(await startListening(silent));
    const half = connect(away.href, { operationMs: 1_000 });
    expect((await failure(half.replica.select().from(notes))).kind).toBe('timeout');
    expect(await read(half)).toBe('primary');
    await half.close();
    silent.close();
  });

  it.each([
    ['when the process was frozen meanwhile', 31_000],
    ['when the date was set back', -3_600_000],
  ])('ask a replica that did not answer again after a while, also %s', async (_when, ms) => {
    const away = new URL(replica.url);
    away.port = String(await anyFreePort());
    const half = connect(away.href);
    const errors: (string | undefined)[] = [];
    const db = half.forRequest({ onQuery: ({ error }) => errors.push(error) });
    await read(db);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
    await read(db);
    vi.useRealTimers();
    expect(errors).toEqual(['connection', undefined, 'connection', undefined]);
    await half.close();
  });

  it('still come from the replica for others when a request that reads there is aborted', async () => {
    const controller = new AbortController();
    const { replica: from } = database.forRequest({ signal: controller.signal });
    const work = failure(from.select({ slept: sql`pg_sleep(60)::text` }).from(notes));
    await replica.untilSleeping();
    controller.abort();
    expect((await work).kind).toBe('timeout');
    expect(await read(database.forRequest({}))).toBe('replica');
  });

  it('fail when the replica answers with an error', async () => {
    const wrong = connect(replica.url.replace(/:[0-9a-f]+@/, ':wrong@'));
    expect((await failure(wrong.replica.select().from(notes))).kind).toBe('auth');
    await wrong.close();
  });
});
