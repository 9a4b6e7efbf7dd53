import { setImmediate as turn } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, inject, it, type Mock, onTestFinished, vi } from 'vitest';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { tcp } from '../../src/db/tcp.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { failure } from './ways.ts';

/** What tracers see of a query. */
interface Traced {
  text: string;
  callback: (error?: unknown) => void;
}

let test: TestDatabase;
let database: Database;

const connect = () => createDatabase({ url: test.url, schema: {}, transports: { tcp: tcp() }, sockets: 'instance' });

beforeAll(async () => {
  test = await createEmptyDatabase(inject('stack').postgresPort);
  database = connect();
});

afterEach(() => vi.restoreAllMocks());

afterAll(async () => {
  await database.close();
  await test.close();
});

const pid = async () => (await database.execute(sql`select pg_backend_pid()`)).rows;

const abortedIn = (ms: number) => database.forRequest({ signal: AbortSignal.timeout(ms) });

const query = Reflect.get(pg.Client.prototype, 'query') as (this: pg.Client, ...args: unknown[]) => unknown;

/** Replaces `pg`'s `query`, as tracers do. */
const replaceQuery = (replacement: (this: pg.Client, traced: Traced) => unknown) =>
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(replacement as never);

it('tracers of pg that wrap a query’s callback see what runs, and how it ends', async () => {
  const seen: [text: string, failed: boolean][] = [];
  replaceQuery(function (traced) {
    const { text, callback } = traced;
    traced.callback = (error) => {
      seen.push([text, !!error]);
      callback(error);
    };
    return query.call(this, traced);
  });
  await database.execute(sql`select ${'secret'} as a`);
  await database.transaction((tx) => tx.execute(sql`select 2 as b`));
  expect((await failure(database.execute(sql`select 1 / 0`))).code).toBe('22012');
  expect(seen).toEqual([
    ['select $1 as a', false],
    ['begin ; set local statement_timeout = 30000; select 2 as b', false],
    ['commit', false],
    ['select 1 / 0', true],
  ]);
});

it('tracers of pg that follow what its `query` returns see how a query ends', async () => {
  const seen: PromiseLike<unknown>[] = [];
  replaceQuery(function (traced) {
    const result = query.call(this, traced) as PromiseLike<object[]>;
    seen.push(
      result.then(
        (results) => results.length,
        (error: unknown) => (error as { code: string }).code,
      ),
    );
    return result;
  });
  await database.transaction((tx) => tx.execute(sql`select pg_sleep(0.1)`));
  await failure(database.execute(sql`select 1 / 0`));
  expect(await Promise.all(seen)).toEqual([3, 1, '22012']);
});

it.each([
  ['a connection broke', () => database.execute(sql`select pg_terminate_backend(pg_backend_pid())`)],
  ['a request was aborted', () => abortedIn(200).execute(sql`select pg_sleep(5)`)],
])('tracers of pg are told once that %s', async (_, run) => {
  const callbacks: Mock[] = [];
  replaceQuery(function (traced) {
    callbacks.push((traced.callback = vi.fn(traced.callback)));
    return query.call(this, traced);
  });
  const ended = vi.spyOn(pg.Client.prototype, 'emit');
  await failure(run());
  await vi.waitFor(() => expect(ended).toHaveBeenCalledWith('end'), PATIENCE);
  expect(callbacks.map(({ mock }) => mock.calls.length)).toEqual([1]);
});

it('a connection on which something runs that pg no longer waits for is not used again', async () => {
  await test.query('create table written (); grant all on written to app');
  vi.spyOn(pg.defaults, 'query_timeout', 'get').mockReturnValue(300);
  const impatient = connect();
  const work = failure(impatient.transaction((tx) => tx.execute(sql`select pg_sleep(1)`)));
  expect((await work).message).toBe('Query read timeout');
  vi.restoreAllMocks(); // connections to come wait
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  await impatient.execute(sql`insert into written default values`);
  expect(await test.query('table written')).toHaveLength(1);
  await impatient.close();
});

/** Listens in the place of vitest, whose listeners fail the run. */
const overhear = (event: 'uncaughtException' | 'unhandledRejection') => {
  const overheard = vi.fn();
  const others = process.listeners(event as 'uncaughtException');
  process.removeAllListeners(event).on(event, overheard);
  onTestFinished(() => {
    process.off(event, overheard);
    for (const listener of others) process.on(event, listener);
  });
  return overheard;
};

it('a tracer of pg that throws takes down neither a result nor the connection', async () => {
  const uncaught = overhear('uncaughtException');
  const before = await pid();
  replaceQuery(function (traced) {
    traced.callback = () => {
      throw new Error('a tracer');
    };
    return query.call(this, traced);
  });
  expect(await pid()).toEqual(before);
  expect(uncaught).toHaveBeenCalledOnce();
});

it('a tracer of pg that throws when it has sent a query fails that, and not the process', async () => {
  const unhandled = overhear('unhandledRejection');
  replaceQuery(function (traced) {
    query.call(this, traced);
    throw new Error('a tracer');
  });
  const ended = vi.spyOn(pg.Client.prototype, 'emit');
  expect(await failure(pid())).toMatchObject({ message: 'a tracer', retryable: false });
  await vi.waitFor(() => expect(ended).toHaveBeenCalledWith('end'), PATIENCE);
  expect(unhandled).not.toHaveBeenCalled();
});

it('a tracer of pg whose `query` is an async function does not end the process with the statement’s error', async () => {
  const unhandled = overhear('unhandledRejection');
  onTestFinished(() => void Reflect.set(pg.Client.prototype, 'query', query));
  // Not a spy: those listen to what is returned.
  Reflect.set(pg.Client.prototype, 'query', async function (this: pg.Client, traced: Traced) {
    return await query.call(this, traced);
  });
  expect((await failure(database.execute(sql`select 1 / 0`))).code).toBe('22012');
  await turn(); // rejections are reported after the microtasks
  expect(unhandled).not.toHaveBeenCalled();
});

it('what a tracer sends in front of a query is not taken for its end', async () => {
  replaceQuery(function (traced) {
    void query.call(this, `set application_name = 'traced'`);
    return query.call(this, traced);
  });
  expect((await database.execute(sql`select current_setting('application_name') as name`)).rows).toEqual([
    { name: 'traced' },
  ]);
  expect((await failure(database.execute(sql`select 1 / 0`))).code).toBe('22012');
});

it('a query that a tracer copies may have run, and is not sent again', async () => {
  replaceQuery(function (traced) {
    return query.call(this, { ...traced });
  });
  const work = database.execute(sql`select pg_terminate_backend(pg_backend_pid())`);
  expect(await failure(work)).toMatchObject({ code: '57P01', retryable: false });
});
