import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client } from '@neondatabase/serverless';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { createDatabase } from '../../src/db/database.ts';
import { DatabaseError } from '../../src/db/error.ts';
import { fastClient } from '../../src/db/fast/client.ts';
import { pipelinedClient } from '../../src/db/fast/pipelined.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import type { Target } from '../contract.ts';
import { bundleWorker, startWorker } from '../workers/start-worker.ts';
import { type Fault, noFault, type Relay, startRelay } from './relay.ts';

let relay: Relay;
let test: TestDatabase;

/** With a branch, as PlanetScale's have: a local server then is one that asks for SCRAM. */
const role = `scram_${randomBytes(6).toString('hex')}.main`;
const PASSWORD = 'correct horse';

beforeAll(async () => {
  relay = await startRelay(inject('stack').postgresPort);
  test = await createEmptyDatabase(relay.port);
  await test.query(`create role "${role}" login password '${PASSWORD}'`);
  await test.query(`grant connect on database ${new URL(test.url).pathname.slice(1)} to "${role}"`);
});

beforeEach(() => {
  relay.fault = noFault;
  relay.takeFrames();
});

// Whatever happened: no test leaves a socket open.
afterEach(() => vi.waitFor(() => expect(relay.openSockets()).toBe(0), PATIENCE));

afterAll(async () => {
  await relay.close();
  await test.query(`drop owned by "${role}"`);
  await test.query(`drop role "${role}"`);
  await test.close();
});

function urlWith(password: string): string {
  const url = new URL(test.url);
  url.username = role;
  url.password = encodeURIComponent(password);
  return url.href;
}

/** Runs a transaction of one statement on a connection of its own. */
async function connectAndQuery(DriverClient: typeof Client, url = urlWith(PASSWORD)): Promise<unknown> {
  const transports = { http: neonHttp(), websocket: neonWebSocket({ Client: DriverClient }) };
  const database = createDatabase({ url, schema: {}, transports, sockets: 'request' });
  try {
    const { rows } = await database.transaction((tx) => tx.execute(sql`select current_user as role`));
    return rows;
  } finally {
    await database.close();
  }
}

/** As somebody would use the driver without this kit. */
function bareClient(DriverClient: typeof Client, url = urlWith(PASSWORD), address = new URL(url).host): Client {
  const client = new DriverClient(url);
  client.neonConfig.wsProxy = () => `${address}/v2`;
  client.neonConfig.useSecureWebSocket = false;
  client.neonConfig.pipelineConnect = false;
  return client;
}

/** What the clients sent: the start-up `-`, log-in messages `p`, a flight of statements `Q`, the end `X`. */
const takeFrames = () => relay.takeFrames().map((frame) => frame.replace(/(PBDE)+HS$/, 'Q'));

/** BEGIN and a statement in one flight, then COMMIT. */
const FRAMES = {
  unpipelined: ['-', 'p', 'p', 'Q', 'Q', 'X'],
  pipelined: ['-p', 'pQ', 'Q', 'X'],
};

/** Codes of the log-in's messages. */
const MECHANISMS = 10;
const SERVER_FIRST = 11;
const SERVER_FINAL = 12;

/** Of no columns. */
const ROW = Buffer.from('D\0\0\0\x06\0\0');

const instead =
  (of: number, put: (text: string) => ReturnType<Fault>): Fault =>
  (message) =>
    message.code === of ? put(message.text) : [message];

const edited = (code: number, edit: (text: string) => string) => instead(code, (text) => [{ code, text: edit(text) }]);

const forge = (text: string) => text.replace(/^v=(.)/, (_, first) => (first === 'A' ? 'v=B' : 'v=A'));

const FAULTS: [what: string, kind: string, message: string, fault: Fault][] = [
  ['a forged signature', 'auth', 'impostor', edited(SERVER_FINAL, forge)],
  [
    'a forged signature with a row behind it',
    'auth',
    'impostor',
    instead(SERVER_FINAL, (text) => [{ code: SERVER_FINAL, text: forge(text) }, ROW]),
  ],
  ['no signature', 'auth', 'signature is missing', instead(SERVER_FINAL, () => [])],
  ['a malformed signature', 'connection', 'no valid SCRAM message', edited(SERVER_FINAL, () => 'x=y')],
  ['a refusal', 'auth', 'refused the log-in: other-error', edited(SERVER_FINAL, () => 'e=other-error')],
  [
    'a signature before the challenge',
    'connection',
    'no valid SCRAM message',
    instead(SERVER_FIRST, () => [{ code: SERVER_FINAL, text: 'v=undefined' }]),
  ],
  [
    'a challenge in the place of the mechanisms',
    'connection',
    'no valid SCRAM message',
    instead(MECHANISMS, () => [{ code: SERVER_FIRST, text: '' }]),
  ],
  [
    'a signature in the place of the mechanisms',
    'connection',
    'no valid SCRAM message',
    instead(MECHANISMS, () => [{ code: SERVER_FINAL, text: 'v=undefined' }]),
  ],
  ["another's nonce", 'auth', 'impostor', edited(SERVER_FIRST, (text) => text.replace(/^r=./, 'r=!'))],
  [
    "no more than the client's nonce",
    'auth',
    'impostor',
    edited(SERVER_FIRST, (text) => text.replace(/(.{26})[^,]*/, '$1')),
  ],
  ['no salt', 'connection', 'no valid SCRAM message', edited(SERVER_FIRST, (text) => text.replace(/s=.*,/, ''))],
  ['too many iterations', 'auth', '200000', edited(SERVER_FIRST, (text) => text.replace(/i=.*/, 'i=200000'))],
  [
    'no iterations',
    'connection',
    'no valid SCRAM message',
    edited(SERVER_FIRST, (text) => text.replace(/i=.*/, 'i=0')),
  ],
  [
    'a second challenge',
    'connection',
    'no valid SCRAM message',
    instead(SERVER_FIRST, (text) => [
      { code: SERVER_FIRST, text },
      { code: SERVER_FIRST, text },
    ]),
  ],
  ['no SCRAM-SHA-256', 'auth', 'no SCRAM-SHA-256', edited(MECHANISMS, () => 'SCRAM-SHA-256-PLUS\0\0')],
  ['the end in the place of the challenge', 'connection', 'terminated', instead(SERVER_FIRST, () => ['hang up'])],
  [
    'the end behind the challenge',
    'connection',
    'terminated',
    instead(SERVER_FIRST, (text) => [{ code: SERVER_FIRST, text }, 'hang up']),
  ],
];

describe.each(['unpipelined', 'pipelined'] as const)('%s SCRAM', (mode) => {
  const pipelined = mode === 'pipelined';
  const ScramClient = pipelined ? pipelinedClient() : fastClient();

  it(`connects and queries in ${pipelined ? 'two round trips' : 'four'}`, async () => {
    expect(await connectAndQuery(ScramClient)).toEqual([{ role }]);
    await vi.waitFor(() => expect(relay.openSockets()).toBe(0), PATIENCE);
    expect(takeFrames()).toEqual(FRAMES[mode]);
  });

  it('connects several at once', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => connectAndQuery(ScramClient)));
    expect(all).toEqual(Array.from({ length: 8 }, () => [{ role }]));
  });

  it('works without this kit, too', async () => {
    const client = bareClient(ScramClient);
    await client.connect();
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    expect((await client.query('select $1::int as two', [2])).rows).toEqual([{ two: 2 }]);
    await client.end();
  });

  it.each(FAULTS)('%s is an error of kind %s, and the end of the socket', async (_, kind, message, fault) => {
    relay.fault = fault;
    const error: unknown = await connectAndQuery(ScramClient).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseError);
    expect(error).toMatchObject({ kind, transport: 'websocket', message: expect.stringContaining(message) });
    if (!pipelined) expect(takeFrames()).not.toContain('Q');
  });

  it.each(FAULTS)('%s fails a bare client, too', async (_, _kind, message, fault) => {
    relay.fault = fault;
    const client = bareClient(ScramClient);
    client.on('error', () => {}); // as with any client of the driver
    const outcomes = await Promise.allSettled([client.connect(), client.query('select 1')]);
    const reasons = outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : 'fulfilled'));
    expect(reasons[1]).not.toBe('fulfilled');
    expect(reasons).toContainEqual(expect.stringContaining(message));
  });

  it('a wrong password is an error of kind auth', async () => {
    await expect(connectAndQuery(ScramClient, urlWith('wrong'))).rejects.toMatchObject({ kind: 'auth', code: '28P01' });
  });

  it('a password goes through SASLprep', async () => {
    // The server stores it as 'fine é 1'.
    const password = '\uFB01n\u00AD\u00ADe\u00A0e\u0301 \u2460';
    await test.query(`alter role "${role}" password '${password}'`);
    for (const spelling of [password, 'fine \u00E9 1']) {
      expect(await connectAndQuery(ScramClient, urlWith(spelling))).toEqual([{ role }]);
    }
    await test.query(`alter role "${role}" password '${PASSWORD}'`);
  });
});

// The driver throws there in a promise that it does not await: a process would end for it.
it.each(['r=', 'r=another,s=c2FsdA==,i=4096'])(
  'the challenge %s is an error without this folder, too',
  async (text) => {
    relay.fault = edited(SERVER_FIRST, () => text);
    const refusal = { kind: 'connection', message: expect.stringContaining('SCRAM-SERVER-FIRST-MESSAGE') };
    await expect(connectAndQuery(Client)).rejects.toMatchObject(refusal);
  },
);

describe('with pipelining', () => {
  const ScramClient = pipelinedClient();

  it('no SCRAM at all is refused: the server proves nothing', async () => {
    relay.fault = instead(MECHANISMS, () => [{ code: 0, text: '' }]);
    await expect(connectAndQuery(ScramClient)).rejects.toMatchObject({ kind: 'auth' });
  });

  it('a server that asks for a cleartext password gets none', async () => {
    relay.fault = instead(MECHANISMS, () => [{ code: 3, text: '' }]);
    const refusal = { kind: 'auth', message: expect.stringContaining('cleartext') };
    await expect(connectAndQuery(ScramClient)).rejects.toMatchObject(refusal);
    expect(takeFrames()).toEqual(['-p']);
  });

  it('a client whose log-in was refused is not said to be connected after that', async () => {
    relay.fault = edited(SERVER_FIRST, (text) => text.replace(/^r=./, 'r=!'));
    const client = bareClient(ScramClient);
    client.on('error', () => {});
    const connected = vi.fn(); // as the driver's own pool asks
    client.connect(connected);
    await vi.waitFor(() => expect(connected).toHaveBeenCalled(), PATIENCE);
    expect(connected.mock.calls).toEqual([[expect.any(DatabaseError)]]);
  });

  it('nothing leaves ahead of TLS between client and server', async () => {
    const client = bareClient(ScramClient, `${urlWith(PASSWORD)}?sslmode=require`);
    client.neonConfig.forceDisablePgSSL = false;
    client.on('error', () => {});
    await expect(client.connect()).rejects.toThrow('SSL');
    await client.end();
    expect(takeFrames()[0]).toBe('-');
  });

  it.each([
    ['ws', 'database.example', '-'],
    ['ws', 'localhost.example', '-'],
    ['ws', 'not-localhost', '-'],
    ['wss', 'database.example', '-p'],
  ])('over %s: to another machine, %s, the start-up leaves as %s', async (scheme, host, firstFrame) => {
    const client = bareClient(ScramClient, urlWith(PASSWORD), host);
    client.neonConfig.useSecureWebSocket = scheme === 'wss';
    client.neonConfig.webSocketConstructor = class extends WebSocket {
      constructor() {
        super(`ws://127.0.0.1:${relay.port}`);
      }
    };
    await client.connect();
    await client.query('select 1');
    await client.end();
    expect(takeFrames()[0]).toBe(firstFrame);
  });
});

describe.each([
  { provider: 'neon', user: 'app' },
  { provider: 'planetscale', user: 'app.main' },
] as const)('the gateway in place of $provider', ({ provider, user }) => {
  let gateway: Gateway;
  let url: string;

  beforeAll(async () => {
    gateway = await startGateway({
      upstream: { host: '127.0.0.1', port: inject('stack').postgresPort },
      port: 0,
      provider,
    });
    const changed = new URL(test.url);
    changed.port = String(gateway.port);
    changed.username = user;
    url = changed.href;
  });

  afterAll(() => gateway.close());

  it.each([fastClient, pipelinedClient])('lets the client in, %o', async (client) => {
    expect(await connectAndQuery(client(), url)).toEqual([{ role: 'app' }]);
  });
});

it('a cleartext password is sent where it is asked for', async () => {
  const url = new URL(test.url);
  url.port = String(inject('stack').gatewayPort);
  const client = bareClient(fastClient(), url.href);
  await client.connect();
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  await client.end();
});

it('a password is salted once for many log-ins', async () => {
  const deriveBits = vi.spyOn(crypto.subtle, 'deriveBits');
  const ScramClient = pipelinedClient();
  for (let i = 0; i < 3; i++) await connectAndQuery(ScramClient);
  expect(deriveBits).toHaveBeenCalledTimes(1);
  await expect(connectAndQuery(ScramClient, urlWith('wrong'))).rejects.toThrow('password authentication failed');
  await connectAndQuery(ScramClient);
  deriveBits.mockRestore();
});

describe('in workerd', () => {
  let worker: Target;

  beforeAll(async () => {
    const outfile = await bundleWorker('scram', fileURLToPath(new URL('worker.ts', import.meta.url)));
    worker = await startWorker({ databaseUrl: urlWith(PASSWORD), apiToken: '' }, outfile);
  });

  afterAll(() => worker.close());

  it.each(['unpipelined', 'pipelined'] as const)('%s SCRAM works, request after request', async (mode) => {
    for (let i = 0; i < 3; i++) {
      relay.takeFrames();
      const response = await worker.fetch(`/${mode}`);
      expect(await response.json()).toEqual([{ role }]);
      await vi.waitFor(() => expect(relay.openSockets()).toBe(0), PATIENCE);
      expect(takeFrames()).toEqual(FRAMES[mode]);
    }
  });

  it.each(['unpipelined', 'pipelined'])('%s SCRAM notices an impostor, and lives on', async (mode) => {
    relay.fault = edited(SERVER_FINAL, forge);
    expect(await (await worker.fetch(`/${mode}`)).json()).toEqual({ kind: 'auth' });
    relay.fault = noFault;
    expect(await (await worker.fetch(`/${mode}`)).json()).toEqual([{ role }]);
  });
});
