import type { AddressInfo } from 'node:net';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { WebSocket as WebSocketClient, WebSocketServer } from 'ws';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';

/** Stands between the driver and the gateway, and writes down each frame that the driver sends. */
let proxy: WebSocketServer;
let frames: Buffer[] = [];
let test: TestDatabase;

beforeAll(async () => {
  proxy = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await new Promise((resolve) => proxy.once('listening', resolve));
  proxy.on('connection', (client) => {
    const gateway = new WebSocketClient(`ws://127.0.0.1:${inject('stack').gatewayPort}/v2`);
    const early: Buffer[] = [];
    client.on('message', (data: Buffer) => {
      frames.push(data);
      if (gateway.readyState === WebSocketClient.OPEN) gateway.send(data);
      else early.push(data);
    });
    gateway.on('open', () => early.forEach((data) => gateway.send(data)));
    gateway.on('message', (data) => client.send(data));
    gateway.on('close', () => client.close());
    client.on('close', () => gateway.close());
  });
  test = await createEmptyDatabase((proxy.address() as AddressInfo).port);
});

afterAll(async () => {
  proxy.close();
  await test.close();
});

/** The types of the protocol's messages in a frame; the start-up, which has none, is `-`. */
function messageTypes(frame: Buffer, withStartup: boolean): string {
  let types = withStartup ? '-' : '';
  for (let at = withStartup ? frame.readInt32BE(0) : 0; at < frame.length; at += 1 + frame.readInt32BE(at + 1)) {
    types += String.fromCharCode(frame[at] ?? 0);
  }
  return types;
}

/** What the driver sent while `work` ran, a string of message types for each frame. */
async function sent(work: () => Promise<unknown>, cold: boolean): Promise<string[]> {
  frames = [];
  await work();
  return frames.map((frame, i) => messageTypes(frame, cold && i === 0));
}

/** Parse, Bind, Describe, Execute. */
const STATEMENT = 'PBDE';
/** The driver writes a Flush in front of each Sync. */
/** BEGIN, and the statement's time limit. */
const BEGIN = STATEMENT.repeat(2);
const SYNC = 'HS';

describe('over the WebSocket', () => {
  let database: Database;

  beforeAll(() => {
    database = createDatabase({
      url: test.url,
      schema: {},
      transports: { http: neonHttp(), websocket: neonWebSocket() },
      sockets: 'instance',
    });
  });

  afterAll(() => database.close());

  it('start-up, password, BEGIN and the first statement leave in one frame, COMMIT in another', async () => {
    const work = () => database.transaction((tx) => tx.execute(sql`select 1`));
    expect(await sent(work, true)).toEqual([`-p${BEGIN}${STATEMENT}${SYNC}`, `${STATEMENT}${SYNC}`]);
  });

  it('a warm transaction of three statements takes four frames', async () => {
    const work = () =>
      database.transaction(async (tx) => {
        for (let i = 0; i < 3; i++) await tx.execute(sql`select ${i}::int`);
      });
    expect(await sent(work, false)).toEqual([
      `${BEGIN}${STATEMENT}${SYNC}`,
      `${STATEMENT}${SYNC}`,
      `${STATEMENT}${SYNC}`,
      `${STATEMENT}${SYNC}`,
    ]);
  });

  it('several statements of a transaction, and its savepoints, ride in one frame with one Sync', async () => {
    const work = () =>
      database.transaction((tx) =>
        tx.transaction((inner) => inner.batch([inner.execute(sql`select 1`), inner.execute(sql`select 2`)])),
      );
    expect(await sent(work, false)).toEqual([
      `${BEGIN}${STATEMENT.repeat(3)}${SYNC}`, // SAVEPOINT and the two
      `${STATEMENT.repeat(2)}${SYNC}`, // RELEASE and COMMIT
    ]);
  });

  it('a savepoint that is undone is released, too: those after it do not lie in it', async () => {
    const work = () =>
      database.transaction((tx) => tx.transaction((inner) => inner.execute(sql`select 1 / 0`)).catch(() => {}));
    expect(await sent(work, false)).toEqual([
      `${BEGIN}${STATEMENT.repeat(2)}${SYNC}`, // SAVEPOINT and the one
      `${STATEMENT.repeat(3)}${SYNC}`, // ROLLBACK TO, RELEASE and COMMIT
    ]);
  });

  it('a session takes a frame to forget its state, and one to say that it ends', async () => {
    const work = async () => {
      await database.session((session) => session.execute(sql`select 1`));
      await vi.waitFor(() => expect(frames).toHaveLength(3), PATIENCE);
    };
    expect(await sent(work, true)).toEqual([`-p${STATEMENT}${SYNC}`, `${STATEMENT}${SYNC}`, 'X']);
  });

  it('the end leaves in a frame, and closes the socket, whatever the other side does', async () => {
    const close = vi.spyOn(WebSocket.prototype, 'close');
    const end = () => database.close().then(() => vi.waitFor(() => expect(frames).toHaveLength(1), PATIENCE));
    expect(await sent(end, false)).toEqual(['X']);
    expect(close).toHaveBeenCalled();
    close.mockRestore();
  });
});
