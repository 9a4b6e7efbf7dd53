import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { neon, neonConfig, Pool } from '@neondatabase/serverless';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { NO_SIMULATION } from '../../local/gateway-simulation.ts';
import { isFree } from '../../local/ports.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { logInMessages, overWebSocket, query } from './wire.ts';

let gateway: Gateway;
let test: TestDatabase;
let control: string;

beforeAll(async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  gateway = await startGateway({ upstream, port: 0, controlPort: 0 });
  control = `http://127.0.0.1:${gateway.controlPort}`;
  test = await createEmptyDatabase(gateway.port);
  await test.query('create table written (n int); grant all on written to app');
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  neonConfig.wsProxy = (host, port) => `${host}:${port}/v2`;
  neonConfig.useSecureWebSocket = false;
});

beforeEach(async () => {
  await gateway.simulate({ ...NO_SIMULATION });
  await test.query('truncate written');
});

afterAll(async () => {
  await test.close();
  await gateway.close();
});

const written = async () => (await test.query('select from written')).length;
const insert = 'insert into written values (1)';

const timed = async (work: () => Promise<unknown>) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

/** One connection over TCP; lost ones fail their queries, and nothing else. */
const connect = async () => {
  const client = new pg.Client({ connectionString: test.url });
  client.on('error', () => {});
  await client.connect();
  return client;
};

describe('distance', () => {
  it('is paid once by what is sent together, and by the set-up', async () => {
    await gateway.simulate({ rtt: 60 });
    const pool = new Pool({ connectionString: test.url });
    pool.on('error', () => {}); // it may still be closing when it is cut
    expect(await timed(() => pool.query('select 1'))).toBeGreaterThanOrEqual(235); // TCP, TLS, the upgrade, and the rest at once
    await pool.end();

    const sql = neon(test.url);
    await sql`select 1`;
    expect(await timed(() => sql`select 1`)).toBeGreaterThanOrEqual(58);
    const five = () => sql.transaction(Array.from({ length: 5 }, () => sql`select 1`));
    await vi.waitFor(async () => expect(await timed(five)).toBeLessThan(5 * 58), PATIENCE);
  });

  it.each(['rtt', 'jitter'])('ends connections that do not have it, be it %s', async (name) => {
    const client = await connect();
    const ended = new Promise((resolve) => client.once('end', () => resolve(true)));
    await gateway.simulate({ [name]: 1 });
    expect(await ended).toBe(true);
  });
});

it('a cold start is waited for by all who come, and by nobody afterwards', async () => {
  await gateway.simulate({ coldStart: 300, idle: 0 });
  const sql = neon(test.url);
  const times = await Promise.all([timed(() => sql`select 1`), timed(() => sql`select 1`)]);
  for (const time of times) expect(time).toBeGreaterThanOrEqual(295);
  // Asleep again at once, and then held awake.
  const start = performance.now();
  const client = await connect();
  expect(performance.now() - start).toBeGreaterThanOrEqual(295);
  await vi.waitFor(async () => expect(await timed(() => sql`select 1`)).toBeLessThan(295), PATIENCE);
  await client.end();
  await gateway.simulate({ idle: 300 });
  await vi.waitFor(async () => expect(await timed(() => sql`select 1`)).toBeLessThan(295), PATIENCE);
});

describe('a connection is cut', () => {
  it('over HTTP before the query ran, and after it did', async () => {
    const sql = neon(test.url);
    await gateway.simulate({ drop: 1, dropAt: ['before'] });
    await expect(sql.query(insert)).rejects.toThrow('fetch failed');
    expect(await written()).toBe(0);
    await gateway.simulate({ dropAt: ['after'] });
    await expect(sql.query(insert)).rejects.toThrow('fetch failed');
    expect(await written()).toBe(1);
  });

  it('over HTTP after the commit of a batch, but not of a query', async () => {
    const sql = neon(test.url);
    await gateway.simulate({ drop: 1, dropAt: ['commit'] });
    await sql.query(insert);
    await expect(sql.transaction([sql.query(insert)])).rejects.toThrow('fetch failed');
    expect(await written()).toBe(2);
  });

  it('over a socket before the query ran, and after it did', async () => {
    const [before, after] = [await connect(), await connect()];
    for (const client of [before, after]) await client.query('select 1');
    await gateway.simulate({ drop: 1, dropAt: ['before'] });
    await expect(before.query(insert)).rejects.toThrow('Connection terminated');
    expect(await written()).toBe(0);
    await gateway.simulate({ dropAt: ['after'] });
    await expect(after.query(insert)).rejects.toThrow('Connection terminated');
    expect(await written()).toBe(1);
  });

  it('over a socket with nothing of the answer', async () => {
    const wire = await overWebSocket(`${gateway.url.replace('http', 'ws')}/v2`);
    const { startup, password } = logInMessages(test.url);
    wire.send(startup, password);
    await wire.until('Z');
    await gateway.simulate({ drop: 1, dropAt: ['after'] });
    wire.send(query(`select; select repeat('x', 1000) from generate_series(1, 1000)`));
    await expect(wire.until('TDCZ')).rejects.toThrow('the connection ended');
  });

  it('over a socket after the commit, and nowhere else', async () => {
    const client = await connect();
    await gateway.simulate({ drop: 1, dropAt: ['commit'] });
    await client.query('begin');
    await client.query(insert);
    await expect(client.query('commit')).rejects.toThrow('Connection terminated');
    expect(await written()).toBe(1);
  });

  it.each(['drop', 'controlPlaneErrors'])(
    '%s happens as often as asked for, and in the same order with the same seed',
    async (name) => {
      const sql = neon(test.url);
      const run = async () => {
        await gateway.simulate({ [name]: 0.3, dropAt: ['before'], seed: 7 });
        let outcomes = '';
        for (let i = 0; i < 60; i++)
          outcomes += await sql`select 1`.then(
            () => '.',
            () => 'x',
          );
        return outcomes;
      };
      const first = await run();
      expect(await run()).toBe(first);
      expect(first.replaceAll('.', '').length).toBeGreaterThan(8);
      expect(first.replaceAll('.', '').length).toBeLessThan(30);
    },
  );
});

it('the control plane fails as Neon’s does, over HTTP and over a socket', async () => {
  await gateway.simulate({ controlPlaneErrors: 1 });
  await expect(neon(test.url)`select 1`).rejects.toThrow(
    /Server error \(HTTP status 500\).*"message":"Control plane request failed"/,
  );
  await expect(connect()).rejects.toThrow('Control plane request failed');
});

it('refuses connections, on every port but the control port, until told otherwise', async () => {
  const client = await connect();
  const ended = new Promise((resolve) => client.once('end', () => resolve(true)));
  await gateway.simulate({ refuse: true });
  expect(await ended).toBe(true);
  await expect(connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect((await fetch(`${control}/stats`)).status).toBe(200);
  await fetch(`${control}/simulate`, { method: 'POST', body: '{"refuse":false}' });
  await (await connect()).end();
});

it('refuses connections from the start', async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  const refusing = await startGateway({ upstream, port: 0, simulation: { refuse: true } });
  await expect(fetch(refusing.url)).rejects.toThrow('fetch failed');
  await refusing.close();
});

it('stalls: accepts, never answers, and goes on when told so', async () => {
  const client = await connect();
  const ended = new Promise((resolve) => client.once('end', () => resolve(true)));
  await gateway.simulate({ stall: true });
  expect(await ended).toBe(true);
  const outcome = fetch(`${gateway.url}/sql`, { signal: AbortSignal.timeout(300) }).catch((error: Error) => error.name);
  expect(await outcome).toBe('TimeoutError');
  await vi.waitFor(() => expect(gateway.stats().openConnections).toBe(0), PATIENCE);
  expect((await fetch(`${control}/simulate`)).status).toBe(200);
  await gateway.simulate({ stall: false });
  expect(await neon(test.url)`select 1 as one`).toEqual([{ one: 1 }]);
});

describe('the control port', () => {
  const simulate = async (body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${control}/simulate`, { method: 'POST', body, headers });
    return [response.status, await response.json()];
  };

  it('changes what it is told to, says what holds, and counts', async () => {
    expect(await simulate('{"rtt": 5, "dropAt": ["commit"]}')).toEqual([
      200,
      { ...NO_SIMULATION, rtt: 5, dropAt: ['commit'] },
    ]);
    expect(await (await fetch(`${control}/simulate`)).json()).toMatchObject({ rtt: 5 });
    await simulate('{"rtt": 0}');

    const stats = async () => (await (await fetch(`${control}/stats`)).json()) as ReturnType<Gateway['stats']>;
    const before = await stats();
    const sql = neon(test.url);
    await sql`select 1`;
    await sql.transaction([sql`select 1`]);
    const pool = new Pool({ connectionString: test.url });
    await pool.query('select 1');
    const during = await stats();
    expect(during.requests - before.requests).toBe(2);
    expect(during.batches - before.batches).toBe(1);
    expect(during.sockets - before.sockets).toBe(1);
    expect(during.openSockets - before.openSockets).toBe(1);
    expect(during.connections).toBeGreaterThan(before.connections);
    expect(during.openConnections).toBeGreaterThan(0);
    expect(during.bytesReceived).toBeGreaterThan(before.bytesReceived + 500);
    expect(during.bytesSent).toBeGreaterThan(before.bytesSent + 500);
    await pool.end();
    await vi.waitFor(async () => expect((await stats()).openSockets).toBe(before.openSockets), PATIENCE);
  });

  it.each([
    ['rtt', -1],
    ['rtt', '40'],
    ['drop', 1.5],
    ['dropAt', ['nowhere']],
    ['dropAt', []],
    ['refuse', 1],
  ])('refuses %s of %j, and changes nothing', async (name, value) => {
    const [status, body] = await simulate(JSON.stringify({ jitter: 9, [name]: value }));
    expect([status, (body as { error: string }).error]).toEqual([400, expect.stringContaining(name)]);
    expect(gateway.simulation()).toEqual(NO_SIMULATION);
  });

  it('says which settings there are when it is told another', async () => {
    const [status, body] = await simulate(JSON.stringify({ jitter: 9, latency: 1 }));
    const names = 'rtt, jitter, coldStart, idle, drop, dropAt, controlPlaneErrors, refuse, stall, seed';
    expect([status, body]).toEqual([400, { error: `latency is not a setting: the settings are ${names}` }]);
    expect(gateway.simulation()).toEqual(NO_SIMULATION);
  });

  it('refuses what is no object, another path, and a page of another site', async () => {
    for (const body of ['', 'rtt=1', '[]', 'null']) expect((await simulate(body))[0]).toBe(400);
    expect((await fetch(control)).status).toBe(404);
    expect((await simulate('{"refuse":true}', { Origin: 'https://evil.example' }))[0]).toBe(403);
    const rebound = request(`${control}/stats`, { headers: { Host: 'evil.example' } }).end();
    const [response] = (await once(rebound, 'response')) as [IncomingMessage];
    expect(response.resume().statusCode).toBe(403);
    expect(gateway.simulation()).toEqual(NO_SIMULATION);
  });

  it('is closed with the gateway, whatever still comes there', async () => {
    const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
    const own = await startGateway({ upstream, port: 0, controlPort: 0 });
    const { controlPort = 0 } = own;
    const headers = { 'Content-Length': 9, Expect: '100-continue' };
    const unfinished = request(`http://127.0.0.1:${controlPort}/simulate`, { method: 'POST', headers });
    const cut = once(unfinished, 'error');
    unfinished.flushHeaders();
    await once(unfinished, 'continue');
    await own.close();
    await cut;
    expect(await isFree(controlPort)).toBe(true);
  });
});
