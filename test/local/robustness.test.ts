import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, createServer, Socket } from 'node:net';
import { duplexPair, pipeline, Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { createRelay } from '../../local/gateway-relay.ts';
import { readBody } from '../../local/gateway-request.ts';
import { createSimulator } from '../../local/gateway-simulation.ts';
import { CANCEL_REQUEST, int32, startupMessage } from '../../local/postgres-messages.ts';
import { startListening } from '../../local/start-listening.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts';
import { logInMessages, message, overTcp, overWebSocket, query, typeOf, type Wire } from './wire.ts';

let gateway: Gateway;
let test: TestDatabase;

const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };

beforeAll(async () => {
  gateway = await startGateway({ upstream, port: 0, controlPort: 0 });
  test = await createEmptyDatabase(gateway.port);
  // What is to be stopped must not end by itself.
  await test.query(`do $$ begin
    execute format('alter role app in database %I set statement_timeout = 0', current_database()); end $$`);
});

afterAll(async () => {
  await test.close();
  await gateway.close();
});

const ask = ({ url } = gateway, text = 'select 1', init: RequestInit = {}) =>
  fetch(`${url}/sql`, {
    method: 'POST',
    body: JSON.stringify({ query: text }),
    headers: { 'Neon-Connection-String': test.url },
    ...init,
  }).then(({ status }) => status);

/** A WebSocket on which `more` was sent ahead behind the log-in, which is answered. */
const logIn = async ({ port } = gateway, ...more: Buffer[]) => {
  const wire = await overWebSocket(`ws://127.0.0.1:${port}/v2`);
  const { startup, password } = logInMessages(test.url);
  wire.send(startup, password, ...more);
  await wire.until('Z');
  return wire;
};

const http = (head: string, body = '') => Buffer.from(`${head.replaceAll('\n', '\r\n')}\r\n\r\n${body}`);
const POST = 'POST /sql HTTP/1.1\nHost: 127.0.0.1';

const backends = () =>
  test.query(`select from pg_stat_activity where usename = 'app' and datname = current_database()`);

const GARBAGE: [string, Buffer[]][] = [
  ['random bytes', [randomBytes(1000)]],
  ['many random bytes', [randomBytes(1_000_000)]],
  ['random bytes that begin as PostgreSQL does', [Buffer.concat([Buffer.from([0]), randomBytes(1000)])]],
  ['nothing', []],
  ['a TLS handshake', [Buffer.from('16030100c8010000c40303', 'hex'), randomBytes(190)]],
  ['a start-up message of no length', [Buffer.alloc(8)]],
  ['a start-up message of a gigabyte', [Buffer.from([0x3f, 0xff, 0xff, 0xff, 0, 3, 0, 0])]],
  ['a start-up message that ends early', [Buffer.from([0, 0, 0, 50, 0, 3, 0, 0, 0x75])]],
  ['protocol version 2', [Buffer.from([0, 0, 0, 8, 0, 2, 0, 0])]],
  ['half a request', [Buffer.from('POST /sql HT')]],
  ['a huge header', [http(`${POST}\nX: ${'x'.repeat(100_000)}`)]],
  ['a thousand headers', [http(POST + '\nX: x'.repeat(3000))]],
  ['a body that ends early', [http(`${POST}\nContent-Length: 1000`, '{"query":')]],
  ['two lengths', [http(`${POST}\nContent-Length: 1\nContent-Length: 2`, '{}')]],
  ['a chunk that is none', [http(`${POST}\nTransfer-Encoding: chunked`, 'zz\r\n')]],
  ['an upgrade that is none', [http('GET /v2 HTTP/1.1\nHost: 127.0.0.1\nConnection: Upgrade\nUpgrade: websocket')]],
  ['no Host', [http('GET / HTTP/1.1')]],
  ['a URL that is none', [http('POST // HTTP/1.1\nHost: 127.0.0.1'), http('GET //:x HTTP/1.1\nHost: 127.0.0.1')]],
];

describe.each(['port', 'poolerPort', 'controlPort'] as const)('on the %s', (name) => {
  it.each(GARBAGE)('%s is refused, and others are served', async (_, chunks) => {
    const socket = connect(gateway[name] ?? 0, '127.0.0.1');
    socket.on('error', () => {}).resume();
    await once(socket, 'connect');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    for (const chunk of chunks) socket.write(chunk);
    socket.end();
    await closed;
    expect(await ask()).toBe(200);
  });
});

describe('a client that goes away has its query stopped, even when the query reaches the server after the request to stop it,', () => {
  let proxy: FaultProxy;
  let near: Gateway;
  const running = () => test.query(`select from pg_stat_activity where query like '%as stopped' and state = 'active'`);
  const untilStopped = async () => {
    await untilRolledBack();
    await vi.waitFor(async () => expect(await running()).toHaveLength(0), PATIENCE);
  };
  const QUERY = `select pg_sleep(60) as stopped`;
  let untilRolledBack: () => Promise<void>;

  beforeEach(async () => {
    proxy = await startFaultProxy({ port: inject('stack').postgresPort });
    near = await startGateway({ upstream: { host: '127.0.0.1', port: proxy.port }, port: 0, pool: { max: 1 } });
    untilRolledBack = await test.untilRolledBack();
  });

  afterEach(async () => {
    await near.close();
    await proxy.close();
  });

  it('over HTTP', async () => {
    expect(await ask(near)).toBe(200);
    const abort = new AbortController();
    const sent = proxy.delay(300);
    const gone = ask(near, QUERY, { signal: abort.signal }).catch(() => 'gone');
    await sent;
    abort.abort();
    expect(await gone).toBe('gone');
    await untilStopped();
  });

  it('over a WebSocket', async () => {
    const wire = await logIn(near);
    const sent = proxy.delay(300);
    wire.send(query(QUERY));
    await sent;
    wire.close();
    await untilStopped();
  });
});

it('a client that goes away while the gateway logs in for its query has nothing run', async () => {
  await test.query('create sequence left_out; grant usage on left_out to app');
  const { promise: asked, resolve: hold } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const slow = createServer((socket) => {
    hold();
    void released.then(() => pipeline(socket, connect(upstream.port, upstream.host), socket, () => {}));
  });
  const port = await startListening(slow);
  const near = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0, pool: { max: 1 } });
  const abort = new AbortController();
  const gone = ask(near, `select nextval('left_out')`, { signal: abort.signal }).catch(() => 'gone');
  await asked;
  abort.abort();
  expect(await gone).toBe('gone');
  await vi.waitFor(() => expect(near.stats().openConnections).toBe(0), PATIENCE);
  release();
  expect(await ask(near)).toBe(200); // behind it: there is one place
  expect(await test.query('select is_called from left_out')).toEqual([{ is_called: false }]);
  await near.close();
  slow.close();
});

it.each<[string, (near: Gateway, text: string) => Promise<() => void>]>([
  [
    'over HTTP',
    async (near, text) => {
      const abort = new AbortController();
      ask(near, text, { signal: abort.signal }).catch(() => {});
      return () => abort.abort();
    },
  ],
  [
    'over a WebSocket',
    async (near, text) => {
      const wire = await logIn(near);
      wire.send(query(text));
      return () => wire.close();
    },
  ],
])(
  'a client that goes away %s has its query stopped behind a pooler, too, which forgets its key with it',
  async (_, start) => {
    let gone = false;
    const pooler = createServer((client) => {
      const server = connect(upstream.port, upstream.host).on('error', () => {});
      server.on('data', (chunk) => client.write(chunk)).on('end', () => client.end());
      client.on('error', () => {}).on('close', () => server.destroy());
      client.on('data', (chunk) => {
        gone ||= chunk.equals(message('X', ''));
        if (!gone) server.write(chunk);
      });
    });
    const port = await startListening(pooler);
    const near = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0 });
    const leave = await start(near, 'select pg_sleep(60)');
    await test.untilSleeping();
    leave();
    await test.untilSleeping(0);
    await near.close();
    pooler.close();
  },
);

it.each<[string, Buffer[]]>([
  ['is there', []],
  ['has said who it is', [logInMessages(inject('stack').app).startup]],
  ['has sent its request', [http(`${POST}\nContent-Length: 1000`, '{"query":')]],
])('a client whose connection is reset once it %s ends nothing but itself', async (_, sent) => {
  const alone = await startGateway({ upstream, port: 0 });
  const socket = connect(alone.port, '127.0.0.1');
  await once(socket, 'connect');
  for (const bytes of sent) socket.write(bytes);
  await vi.waitFor(() => {
    const { openConnections, bytesReceived } = alone.stats();
    expect([openConnections, bytesReceived]).toEqual([1, Buffer.concat(sent).length]);
  }, PATIENCE);
  socket.resetAndDestroy();
  await vi.waitFor(() => expect(alone.stats().openConnections).toBe(0), PATIENCE);
  expect(await ask(alone)).toBe(200);
  await alone.close();
});

describe('a logged-in client', () => {
  it.each([
    ['random bytes', randomBytes(1000)],
    ['a message of negative length', Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])],
    ['a message of no type', message('\0', '')],
    ['an unknown message', message('~', 'x')],
    ['a Query that is not terminated', message('Q', 'select 1')],
  ])('that sends %s is cut off or told so', async (_, bytes) => {
    const wire = await logIn();
    const gone = new Promise((resolve) => wire.stream.once('close', resolve));
    wire.send(bytes);
    const answered = wire.until('E').then(
      (messages) => messages.map(typeOf).join(''),
      () => 'cut off',
    );
    wire.stream.end();
    expect(await Promise.race([answered, gone.then(() => 'cut off')])).toMatch(/E|cut off/);
    expect(await ask()).toBe(200);
  });
});

it('a logged-in client that sends what is no message is hung up on', async () => {
  const wire = await logIn();
  wire.send(Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]));
  await once(wire.stream, 'close');
});

it('a wrong protocol is told so', async () => {
  const version2 = overTcp(gateway.port);
  version2.send(Buffer.from([0, 0, 0, 8, 0, 2, 0, 0]));
  expect((await version2.until('E')).map(String).join()).toContain('unsupported protocol version');

  const tls = connect(gateway.port, '127.0.0.1');
  tls.write(Buffer.from('16030100c8010000c40303', 'hex'));
  const [alert] = (await once(tls, 'data')) as [Buffer];
  expect(alert.toString('hex')).toBe('15030100020228');
});

it('over TCP the server says itself which version of the protocol it speaks', async () => {
  const said = async (port: number) => {
    const wire = overTcp(port);
    wire.send(startupMessage({ user: 'app', '_pq_.x': 'y' }, (3 << 16) | 9999));
    const [negotiate] = await wire.until('R');
    wire.close();
    return negotiate;
  };
  expect(await said(gateway.port)).toEqual(await said(upstream.port));
  expect(typeOf((await said(gateway.port)) ?? Buffer.alloc(1))).toBe('v');
});

it('an address that is none is refused', async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  const planetscale = await startGateway({ upstream, port: 0, provider: 'planetscale' });
  const upgrade =
    'Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
  for (const target of ['//:x', '/v2?address=%', '/v2?address=a:b', '*']) {
    const socket = connect(planetscale.port, '127.0.0.1');
    socket.write(http(`GET ${target} HTTP/1.1\nHost: 127.0.0.1\n${upgrade}`));
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(String(answer)).toMatch(/^HTTP\/1\.1 400 /);
    socket.destroy();
  }
  await planetscale.close();
});

it('500 sockets at once leave nothing behind', async () => {
  const open = async () => {
    const wire = await logIn(gateway, query('select 1'));
    await wire.until('Z');
    return wire;
  };
  const wires: Wire[] = [];
  // A few at a time: on a busy machine, all of them would take longer to log in than the gateway waits for the server.
  while (wires.length < 500) wires.push(...(await Promise.all(Array.from({ length: 50 }, open))));
  expect(gateway.stats().openSockets).toBe(500);
  expect((await backends()).length).toBeGreaterThanOrEqual(500);
  for (const wire of wires) wire.close();
  await vi.waitFor(async () => expect((await backends()).length).toBeLessThanOrEqual(20), PATIENCE);
  await vi.waitFor(() => expect(gateway.stats().openSockets).toBe(0), PATIENCE);
});

it.each(['x ', '"'])('an array with a long element of %j is answered', async (part) => {
  expect(await ask(gateway, `select array[repeat('${part}', 4900000)] as a`)).toBe(200);
});

it('bytes behind a request to cancel, or a log-in, TLS or an upgrade that is refused, keep no connection open', async () => {
  const counted = await startGateway({ upstream, port: 0, provider: 'planetscale' });
  const parameters = 'user\0nobody\0database\0nowhere\0\0';
  const startup = Buffer.concat([int32(8 + parameters.length, 3 << 16), Buffer.from(parameters)]);
  const tls = Buffer.from('16030100c8010000c40303', 'hex');
  const upgrade = http('GET /v2 HTTP/1.1\nHost: 127.0.0.1\nConnection: Upgrade\nUpgrade: websocket');
  for (const start of [int32(16, CANCEL_REQUEST, 1, 2), startup, tls, upgrade]) {
    const socket = connect(counted.port, '127.0.0.1').on('error', () => {});
    socket.write(Buffer.concat([start, Buffer.alloc(100)]));
    await once(socket.resume(), 'end');
    socket.end(Buffer.alloc(100));
  }
  await vi.waitFor(() => expect(counted.stats().openConnections).toBe(0), PATIENCE);
  await counted.close();
});

it('a client that goes away after the server did, while it has to wait, leaves nothing behind', async () => {
  const alone = await startGateway({ upstream, port: 0 });
  const stream = new Socket();
  const connectionString = test.url.replace(/:\d+\//, `:${alone.port}/`);
  const client = new pg.Client({ connectionString, stream: () => stream });
  client.on('error', () => {});
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  stream.write(query('select pg_sleep(60)'));
  for (let i = 0; i < 60; i++) stream.write(query(`select 1 ${' '.repeat(1_000_000)}`));
  await vi.waitFor(() => expect(alone.stats().bytesReceived).toBeGreaterThan(1_000_000), PATIENCE);
  await test.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
  await once(stream, 'close');
  await vi.waitFor(() => expect(alone.stats().openConnections).toBe(0), PATIENCE);
  await alone.close();
});

it('a client that goes away while it is logged in leaves nothing behind', async () => {
  const proxy = await startFaultProxy({ port: inject('stack').postgresPort });
  const alone = await startGateway({ upstream: { host: '127.0.0.1', port: proxy.port }, port: 0 });
  const stream = new Socket();
  const connectionString = test.url.replace(/:\d+\//, `:${alone.port}/`);
  const client = new pg.Client({ connectionString, stream: () => stream });
  client.on('error', () => {});
  // Its last message of the log-in reaches the server later than the gateway hears that nothing comes after it.
  const { connection } = client;
  const send = Reflect.get(connection, 'sendSCRAMClientFinalMessage') as (text: string) => void;
  Object.assign(connection, {
    sendSCRAMClientFinalMessage(text: string) {
      void proxy.delay(300);
      send.call(connection, text);
      stream.end();
    },
  });
  await client.connect().catch(() => {});
  await vi.waitFor(() => expect(alone.stats().openConnections).toBe(0), PATIENCE);
  await alone.close();
  await proxy.close();
});

it('nothing is kept of a client that breaks off while it is logged in', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const relay = createRelay({ upstream, simulator: createSimulator({}), passOn: (parameters) => parameters });
  /** @returns what the relay was told about this client alone */
  const breakOff = async () => {
    const own = { ...upstream };
    const [client, near] = duplexPair();
    for (const stream of [client, near]) stream.on('error', () => {});
    const related = relay(near, 'cleartext', (role) => ({ upstream: own, role, pooled: false }));
    const { startup, password } = logInMessages(test.url);
    client.write(startup);
    await once(client, 'readable');
    client.write(password);
    setImmediate(() => near.destroy());
    await related;
    return new WeakRef(own);
  };
  const kept = await breakOff();
  await vi.waitFor(() => {
    collectGarbage();
    expect(kept.deref() === undefined).toBe(true); // the error would hold what it shows
  }, PATIENCE);
});

it('a client that does not log in within a minute is hung up on', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const [client, near] = duplexPair();
  for (const stream of [client, near]) stream.on('error', () => {});
  const relay = createRelay({ upstream, simulator: createSimulator({}), passOn: (parameters) => parameters });
  const related = relay(near, 'pass', (role) => ({ upstream, role, pooled: false }));
  const silent = connect(gateway.port, '127.0.0.1');
  await vi.waitUntil(() => vi.getTimerCount() === 2);
  vi.advanceTimersByTime(60_000);
  await Promise.all([related, once(silent.resume(), 'close')]);
  expect(near.destroyed).toBe(true);
  vi.useRealTimers();
});

it('a client that has logged in is not, however long it stays', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const wire = await logIn();
  vi.advanceTimersByTime(60_000);
  vi.useRealTimers();
  wire.send(query('select 1'));
  expect((await wire.until('Z')).map(typeOf)).toContain('D');
  wire.close();
});

it('10,000 one-shots leave nothing behind', async () => {
  // Of its own: nothing else connects to it.
  const counted = await startGateway({ upstream, port: 0 });
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const options = { agent, port: counted.port, path: '/sql', method: 'POST' };
  const headers = { 'Neon-Connection-String': test.url };
  const post = () =>
    new Promise((resolve, reject) => {
      const sent = request({ ...options, headers }, (response) => {
        response.resume().once('end', () => resolve(response.statusCode));
      });
      sent.once('error', reject).end('{"query":"select 1"}');
    });
  for (let i = 0; i < 10_000; i += 50) {
    expect(new Set(await Promise.all(Array.from({ length: 50 }, post)))).toEqual(new Set([200]));
  }
  expect(counted.stats()).toMatchObject({ requests: 10_000, connections: 16 });
  expect((await backends()).length).toBeLessThanOrEqual(20);
  agent.destroy();
  await vi.waitFor(() => expect(counted.stats().openConnections).toBe(0), PATIENCE);
  await counted.close();
});

it('a request longer than a string can be is too large, whatever the limit', async () => {
  const chunk = Buffer.alloc(16 * 1024 * 1024);
  const request = Readable.from(Array.from({ length: 33 }, () => chunk));
  await expect(readBody(request as IncomingMessage, 2 ** 30)).rejects.toMatchObject({ status: 413 });
});
