import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { neon, neonConfig, Pool } from '@neondatabase/serverless';
import { drizzle as drizzleHttp } from 'drizzle-orm/neon-http';
import { drizzle as drizzleWebSocket } from 'drizzle-orm/neon-serverless';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { startGateway } from '../../local/gateway.ts';
import { IS_SUPERUSER } from '../../local/pg-client.ts';
import { anyFreePort, isFree } from '../../local/ports.ts';
import { createDatabase } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { tcp } from '../../src/db/tcp.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { logInMessages, overWebSocket, query } from './wire.ts';

let test: TestDatabase;
let port: number;
let origin: string;

beforeAll(async () => {
  test = await createEmptyDatabase();
  port = inject('stack').gatewayPort;
  origin = `http://127.0.0.1:${port}`;
  // As other projects set the driver up for a local gateway.
  neonConfig.fetchEndpoint = (host, p) => `http://${host}:${p}/sql`;
  neonConfig.wsProxy = (host, p) => `${host}:${p}/v2`;
  neonConfig.useSecureWebSocket = false;
});

afterAll(() => test.close());

const post = (sql: string, headers: Record<string, string> = {}) =>
  fetch(`${origin}/sql`, {
    method: 'POST',
    body: JSON.stringify({ query: sql }),
    headers: { 'Neon-Connection-String': test.url, ...headers },
  });

/** Sends a request head as written: `fetch` would not let a Host or Origin be forged. */
const raw = (head: string) =>
  new Promise<string>((resolve, reject) => {
    let answer = '';
    connect(port, '127.0.0.1')
      .setEncoding('utf8')
      .on('connect', function send(this: Socket) {
        this.write(`${head}\r\n\r\n`);
      })
      .on('data', (chunk) => (answer += chunk))
      .on('error', reject)
      .on('close', () => resolve(answer));
  });

it('drizzle’s own sessions work', async () => {
  const http = drizzleHttp(neon(test.url));
  expect((await http.execute(sql`select 1 as one`)).rows).toEqual([{ one: 1 }]);
  const pool = new Pool({ connectionString: test.url });
  const webSocket = drizzleWebSocket(pool);
  expect(await webSocket.transaction(async (tx) => (await tx.execute(sql`select 1 as one`)).rows)).toEqual([
    { one: 1 },
  ]);
  await pool.end();
});

describe('connections', () => {
  it('end when their client vanishes in the middle of a result', async () => {
    const wire = await overWebSocket(`${origin.replace('http', 'ws')}/v2`);
    const { startup, password } = logInMessages(test.url);
    const large = query(`select repeat('x', 1000) as vanishing from generate_series(1, 10000000)`);
    wire.send(startup, password, large);
    const backends = () =>
      test.query(`select from pg_stat_activity where query like '%as vanishing%' and pid <> pg_backend_pid()`);
    await vi.waitFor(async () => expect(await backends()).toHaveLength(1), PATIENCE);
    wire.close();
    await vi.waitFor(async () => expect(await backends()).toHaveLength(0), PATIENCE);
  });

  it('end when their client vanishes without a word, although it waits for nothing', async () => {
    const stream = new Socket();
    const client = new pg.Client({ connectionString: test.url, stream: () => stream });
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    stream.destroy(); // as when its process ends: it sends no Terminate
    await test.untilClosed(rows[0]?.pid);
  });

  it('have the encoding that Neon’s proxy asks for, whatever the role would have', async () => {
    const alter = (what: string) =>
      test.query(`do $$ begin execute format('alter role app in database %I ${what}', current_database()); end $$`);
    await alter('set client_encoding = latin1');
    const client = new pg.Client({ connectionString: test.url });
    await client.connect();
    expect((await client.query('show client_encoding')).rows).toEqual([{ client_encoding: 'UTF8' }]);
    await client.end();
    await alter('reset client_encoding');
  });

  it('are taken on no port when one of them is taken', async () => {
    const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
    const free = await anyFreePort();
    const started = startGateway({ upstream, port: free, poolerPort: port });
    await expect(started).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await isFree(free)).toBe(true);
  });

  it('of a query that still runs do not hold up closing', async () => {
    const own = await startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port: 0 });
    const request = fetch(`http://127.0.0.1:${own.port}/sql`, {
      method: 'POST',
      body: JSON.stringify({ query: 'select pg_sleep(20)', params: [] }),
      headers: { 'Neon-Connection-String': test.url },
    }).catch(() => 'cut off');
    await test.untilSleeping();
    await own.close();
    expect(await request).toBe('cut off');
  });
});

describe('safety', () => {
  it('lets no superuser in, over either transport', async () => {
    const superuser = new URL(inject('stack').superuser);
    superuser.port = String(port);
    await expect(neon(superuser.href)`select 1`).rejects.toThrow('superusers are not allowed to log in');
    const pool = new Pool({ connectionString: superuser.href });
    await expect(pool.query('select 1')).rejects.toThrow('superusers are not allowed to log in');
    await pool.end();
    // Nor one that has taken on another role on the way in.
    const disguised = new Pool({ connectionString: superuser.href, options: '-c role=app' });
    await expect(disguised.query('select 1')).rejects.toThrow('superusers are not allowed to log in');
    await disguised.end();
  });

  it('lets a role in that is dropped at that moment: what it asks for then is refused as from any role that was', async () => {
    await test.query(`create role short_lived login password 'secret' in role app`);
    const url = new URL(test.url);
    [url.username, url.password] = ['short_lived', 'secret'];
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    await test.query('drop role short_lived');
    expect((await client.query(IS_SUPERUSER)).rows).toEqual([]);
    await client.end();
  });

  it('refuses a superuser in words that src/db takes for a refused log-in, as over TCP', async () => {
    const url = inject('stack').superuser.replace(/:\d+\//, `:${port}/`);
    for (const transports of [{ http: neonHttp() }, { websocket: neonWebSocket() }, { tcp: tcp() }]) {
      const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', onWarning: () => {} });
      await expect(database.batch([database.execute('select 1')])).rejects.toMatchObject({ kind: 'auth' });
      await database.close();
    }
  });

  it('connects to its own server whatever host a request names', async () => {
    const elsewhere = test.url.replace(/@[^/]+/, '@db.example.com:5432');
    const response = await post(`select current_setting('port')::int as port`, {
      'Neon-Connection-String': elsewhere,
    });
    expect(await response.json()).toMatchObject({ rows: [{ port: inject('stack').postgresPort }] });
  });

  it.each([
    ['a page of another site', `Host: 127.0.0.1\r\nOrigin: https://evil.example`],
    ['a page of another site that begins as this machine', `Host: 127.0.0.1\r\nOrigin: http://127.0.0.1.evil.example`],
    ['a page of no site', `Host: 127.0.0.1\r\nOrigin: null`],
    ['a name rebound to this machine', `Host: evil.example`],
    ['a name rebound to this machine that begins as its own', `Host: localhost.evil.example`],
  ])('refuses %s', async (_, headers) => {
    const sqlRequest = `POST /sql HTTP/1.1\r\n${headers}\r\nConnection: close\r\nContent-Length: 0`;
    expect(await raw(sqlRequest)).toMatch(/^HTTP\/1\.1 403 /);
    const preflight = `OPTIONS /sql HTTP/1.1\r\n${headers}\r\nConnection: close`;
    expect(await raw(preflight)).toMatch(/^HTTP\/1\.1 403 /);
    const upgrade = `GET /v2 HTTP/1.1\r\n${headers}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==`;
    expect(await raw(upgrade)).toMatch(/^HTTP\/1\.1 403 /);
  });

  it('says so when other machines can reach it', async () => {
    const warned = once(process, 'warning');
    const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
    const open = await startGateway({ upstream, port: 0, host: '0.0.0.0' });
    expect(await warned).toMatchObject([{ message: expect.stringContaining('other machines can reach it') }]);
    await open.close();
  });

  it('lets a page of this machine in', async () => {
    expect((await post('select 1', { Origin: 'http://localhost:5173' })).status).toBe(200);
  });

  it('takes 10 MiB in a request, and no more', async () => {
    expect((await post(`-- ${'x'.repeat(10 * 1024 * 1024)}`)).status).toBe(413);
    expect((await post(`-- ${'x'.repeat(9 * 1024 * 1024)}`)).status).toBe(200);
  });

  it('refuses text frames and garbage, and goes on', async () => {
    for (const frame of [
      'text',
      Buffer.from([0, 0, 0, 4, 0, 0, 0, 0]),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(8),
      Buffer.alloc(100, 0xff),
    ]) {
      const webSocket = new WebSocket(`${origin.replace('http', 'ws')}/v2`);
      await new Promise((resolve) => webSocket.once('open', resolve));
      const closed = new Promise((resolve) => webSocket.once('close', resolve));
      webSocket.send(frame);
      await closed;
    }
    expect((await post('select 1')).status).toBe(200);
  });
});
