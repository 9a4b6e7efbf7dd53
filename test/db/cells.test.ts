import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { chooseTransport, type Operation } from '../../src/db/choose-transport.ts';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { tcp } from '../../src/db/tcp.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';

/** Each row of the table over each transport it names: what arrives is counted where it arrives. */

const TRANSPORTS = { http: neonHttp(), websocket: neonWebSocket(), tcp: tcp() };

const OPERATIONS: Record<Operation, (db: Database) => PromiseLike<unknown>> = {
  'one-shot': (db) => db.execute(sql`select 1`),
  batch: (db) => db.batch([db.execute(sql`select 1`), db.execute(sql`select 2`)]),
  transaction: (db) => db.transaction((tx) => tx.execute(sql`select 1`)),
  session: (db) => db.session((session) => session.execute(sql`select 1`)),
};

let pooled: Gateway;
let direct: Gateway;
let test: TestDatabase;

beforeAll(async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  [pooled, direct] = await Promise.all([startGateway({ upstream, port: 0 }), startGateway({ upstream, port: 0 })]);
  test = await createEmptyDatabase();
});

afterAll(async () => {
  await Promise.all([pooled.close(), direct.close()]);
  await test.close();
});

const at = (port: number) => Object.assign(new URL(test.url), { port: String(port) }).href;

it.each<[Operation, (keyof typeof TRANSPORTS)[], string]>([
  ['one-shot', ['http', 'websocket'], 'one request to the pooled address'],
  ['one-shot', ['websocket'], 'one socket to the pooled address'],
  ['one-shot', ['tcp'], 'TCP'],
  ['one-shot', ['http', 'tcp'], 'TCP'],
  ['batch', ['http', 'websocket'], 'one batch to the pooled address'],
  ['batch', ['websocket'], 'one socket to the pooled address'],
  ['batch', ['tcp'], 'TCP'],
  ['transaction', ['http', 'websocket'], 'one socket to the pooled address'],
  ['transaction', ['tcp'], 'TCP'],
  ['session', ['http', 'websocket'], 'one socket to the direct address'],
  ['session', ['tcp'], 'TCP'],
])('a %s, given %j, travels as %s', async (operation, available, expected) => {
  const isTcp = chooseTransport(operation, { available })?.transport === 'tcp';
  const postgres = inject('stack').postgresPort;
  const database = createDatabase({
    url: at(isTcp ? postgres : pooled.port),
    unpooledUrl: at(isTcp ? postgres : direct.port),
    schema: {},
    transports: Object.fromEntries(available.map((name) => [name, TRANSPORTS[name]])),
    sockets: 'instance',
  });
  const before = [pooled.stats(), direct.stats()];
  await OPERATIONS[operation](database);
  const arrived = [pooled, direct].flatMap((gateway, i) => {
    const address = i === 0 ? 'pooled' : 'direct';
    const grown = (key: 'requests' | 'batches' | 'sockets') => gateway.stats()[key] - (before[i]?.[key] ?? 0);
    const [requests, batches, sockets] = [grown('requests'), grown('batches'), grown('sockets')];
    return [
      ...(requests - batches === 1 ? [`one request to the ${address} address`] : []),
      ...(batches === 1 ? [`one batch to the ${address} address`] : []),
      ...(sockets === 1 ? [`one socket to the ${address} address`] : []),
    ];
  });
  expect(arrived).toEqual(isTcp ? [] : [expected]);
  await database.close();
});

it('what nothing can carry is refused, with what to change', async () => {
  const named = { url: 'postgresql://role.branch|reads:pw@x.psdb.cloud:6432/postgres', schema: {} };
  const http = createDatabase({ ...named, transports: { http: neonHttp() }, sockets: 'instance' });
  await expect(OPERATIONS.transaction(http)).rejects.toThrow('A transaction needs websocket or tcp.');
  const socket = createDatabase({ ...named, transports: { tcp: tcp() }, sockets: 'instance' });
  await expect(OPERATIONS.session(socket)).rejects.toThrow('A session needs unpooledUrl.');
  const pooled = { ...named, unpooledUrl: named.url };
  const same = createDatabase({ ...pooled, transports: { tcp: tcp() }, sockets: 'instance' });
  await expect(OPERATIONS.session(same)).rejects.toThrow('A session needs unpooledUrl.');
});
