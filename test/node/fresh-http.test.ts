import { channel } from 'node:diagnostics_channel';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, expect, inject, it, vi } from 'vitest';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { freshHttp } from '../../src/fresh-http.ts';
import { serverTransports } from '../../src/server-transports.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts';

let test: TestDatabase;
let proxy: FaultProxy;
let db: Database;

beforeAll(async () => {
  proxy = await startFaultProxy({ port: inject('stack').gatewayPort });
  test = await createEmptyDatabase(proxy.port);
  db = createDatabase({ url: test.url, schema: {}, transports: await serverTransports('neon'), sockets: 'instance' });
});
afterEach(() => vi.useRealTimers());
afterAll(async () => {
  await db.close();
  await proxy.close();
  await test.close();
});

const read = async () => {
  await db.execute(sql`select 1`);
  await setImmediate(); // then `fetch` has its connection back
};

/** What a process that was frozen sees: its timers have not run. */
const skip = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });

it.each([5_000, 3_600_000, -3_600_000])(
  'a query takes no connection from before the date jumped by %i ms',
  async (ms) => {
    await read();
    void proxy.delay(2_000); // what is sent over a connection that is open now
    const connections = proxy.connections();
    skip(ms);
    await read();
    expect(proxy.connections()).toBe(connections + 1);
  },
);

it('the connection that takes the place of an old one is kept', async () => {
  await read();
  const connections = proxy.connections();
  skip(60_000);
  for (let n = 0; n < 5; n++) await read();
  expect(proxy.connections()).toBe(connections + 1);
});

it('a connection that carries a query is left alone', async () => {
  const slow = db.execute(sql`select pg_sleep(1)`).execute();
  await test.untilSleeping();
  skip(60_000);
  await read();
  expect((await slow).rowCount).toBe(1);
});

/** What `fetch` says of a connection's requests. */
const UNDER_WAY = { completed: false, aborted: false };
const DONE = { completed: true, aborted: false };
const ABORTED = { completed: false, aborted: true };

it.each([
  ['carries another request', { '/sql': DONE, '/other': UNDER_WAY }, false],
  ['carries an earlier query', { '/sql': UNDER_WAY, '/other': DONE }, false],
  ['goes on after an abort, as over HTTP/2', { '/sql': ABORTED }, true],
])('closed is a connection that %s: %j %s', async (_, requests, isClosed) => {
  const socket = new Socket();
  for (const [path, state] of Object.entries(requests)) {
    channel('undici:client:sendHeaders').publish({ request: { path, ...state }, socket });
  }
  skip(60_000);
  await read();
  expect(socket.destroyed).toBe(isClosed);
});

it('an old connection that does not close is waited for as long as the query has', async () => {
  const socket = new Duplex({ destroy() {} });
  channel('undici:client:sendHeaders').publish({ request: { path: '/sql', ...DONE }, socket });
  skip(60_000);
  const http = freshHttp({ send: async (_, __, signal) => Promise.reject(signal.reason as Error) });
  const target = {} as Parameters<typeof http.send>[0];
  await expect(http.send(target, [], AbortSignal.timeout(10))).rejects.toThrow('timeout');
  socket.emit('close');
});

it('nothing is kept of a request that a connection has carried', () => {
  const socket = new Socket();
  let asked = 0;
  const counted = {
    path: '/sql',
    aborted: false,
    get completed() {
      return ++asked > 0;
    },
  };
  for (const request of [counted, { path: '/sql', ...DONE }, { path: '/sql', ...DONE }]) {
    channel('undici:client:sendHeaders').publish({ request, socket });
  }
  expect(asked).toBe(1);
  socket.destroy();
});

it('a connection is watched once, however many databases there are', async () => {
  for (let n = 0; n < 20; n++) await serverTransports('neon');
  const socket = new Socket();
  channel('undici:client:sendHeaders').publish({ request: { path: '/sql', ...DONE }, socket });
  expect(socket.listenerCount('close')).toBe(1);
});
