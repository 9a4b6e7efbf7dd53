import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { neon, neonConfig, Pool } from '@neondatabase/serverless';
import { drizzle as drizzleHttp } from 'drizzle-orm/neon-http';
import { drizzle as drizzleWebSocket } from 'drizzle-orm/neon-serverless';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { startGateway } from '../../local/gateway.ts';
import { createDatabase } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { tcp } from '../../src/db/tcp.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { CREATE_NOTES } from '../db/ways.ts';

let test: TestDatabase;
let port: number;
let origin: string;

beforeAll(async () => {
  test = await createEmptyDatabase();
  await test.query(CREATE_NOTES);
  port = inject('stack').gatewayPort;
  origin = `http://127.0.0.1:${port}`;
  // As other projects set the driver up for a local gateway.
  neonConfig.fetchEndpoint = (host, p) => `http://${host}:${p}/sql`;
  neonConfig.wsProxy = (host, p) => `${host}:${p}/v2`;
  neonConfig.useSecureWebSocket = false;
});

afterAll(() => test.close());

const post = (body: unknown, headers: Record<string, string> = {}, path = '/sql') =>
  fetch(origin + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
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

describe('the driver’s own functions', () => {
  it('neon() queries, and runs a transaction with its options', async () => {
    const query = neon(test.url);
    expect(await query`select ${1}::int as one, ${['a', null]}::text[] as list`).toEqual([
      { one: 1, list: ['a', null] },
    ]);
    const [first, second] = await query.transaction(
      [query`select current_setting('transaction_isolation') as level`, query`show transaction_read_only`],
      { isolationLevel: 'Serializable', readOnly: true },
    );
    expect([first, second]).toEqual([[{ level: 'serializable' }], [{ transaction_read_only: 'on' }]]);
  });

  it('neon() reports an error with its fields', async () => {
    await expect(neon(test.url)`insert into notes values (1, 'a'), (1, 'b')`).rejects.toMatchObject({
      name: 'NeonDbError',
      code: '23505',
      table: 'notes',
      constraint: 'notes_pkey',
      severity: 'ERROR',
    });
  });

  it('Pool runs an interactive transaction', async () => {
    const pool = new Pool({ connectionString: test.url });
    const client = await pool.connect();
    await client.query('begin');
    expect((await client.query('select $1::int as one', [1])).rows).toEqual([{ one: 1 }]);
    await client.query('rollback');
    client.release();
    await pool.end();
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

  it('carry large results and many statements', async () => {
    const pool = new Pool({ connectionString: test.url, max: 1 });
    const { rows } = await pool.query<{ text: string }>(
      `select repeat('x', 1000) as text from generate_series(1, 5000)`,
    );
    expect(rows).toHaveLength(5000);
    expect(rows.at(-1)?.text).toHaveLength(1000);
    await pool.end();
  });
});

describe('POST /sql', () => {
  it('types values as JSON unless raw text is asked for', async () => {
    const query = {
      query: `select 1 as i, true as b, 'NaN'::float8 as f, 2::int8 as l, '{"a":1}'::jsonb as j`,
      params: [],
    };
    const typed = (await (await post(query)).json()) as { rows: unknown };
    expect(typed.rows).toEqual([{ i: 1, b: true, f: 'NaN', l: '2', j: { a: 1 } }]);
    const asText = (await (
      await post(query, { 'Neon-Raw-Text-Output': 'true', 'Neon-Array-Mode': 'true' })
    ).json()) as {
      rows: unknown;
    };
    expect(asText.rows).toEqual([['1', 't', 'NaN', '2', '{"a": 1}']]);
  });

  it.each([
    ['a body that is not JSON', 'select 1', {}, 400],
    ['a body that is no query', { sql: 'select 1' }, {}, 400],
    ['two statements in one', { query: 'select 1; select 2', params: [] }, {}, 400],
    ['an unknown isolation level', { queries: [] }, { 'Neon-Batch-Isolation-Level': 'Nonsense' }, 400],
    ['no connection string', { query: 'select 1', params: [] }, { 'Neon-Connection-String': '' }, 400],
    ['a body that is too large', 'x'.repeat(11 * 1024 * 1024), {}, 413],
  ])('refuses %s', async (_, body, headers, status) => {
    const response = await post(body, headers);
    expect(response.status).toBe(status);
    expect(await response.json()).toHaveProperty('message');
  });

  it('refuses another path', async () => {
    const response = await post({ query: 'select 1', params: [] }, {}, '/other');
    expect([response.status, await response.json()]).toEqual([400, 'query is not supported']);
  });

  it('survives COPY, which would swallow what follows', async () => {
    for (let i = 0; i < 25; i++) {
      const response = await post({ query: 'copy notes from stdin', params: [] });
      expect([response.status, await response.json()]).toMatchObject([
        400,
        { message: 'COPY FROM STDIN is not supported' },
      ]);
    }
    expect((await post({ query: 'select 1', params: [] })).status).toBe(200);
  });

  it('answers a preflight', async () => {
    const response = await fetch(`${origin}/sql`, { method: 'OPTIONS' });
    expect([response.status, response.headers.get('Access-Control-Allow-Origin')]).toEqual([200, '*']);
  });
});

describe('connections', () => {
  it('end when their client vanishes in the middle of a result', async () => {
    const webSocket = new WebSocket(`${origin.replace('http', 'ws')}/v2`);
    await new Promise((resolve) => webSocket.once('open', resolve));
    const { username, password, pathname } = new URL(test.url);
    const start = Buffer.from(`\0\0\0\0\0\x03\0\0user\0${username}\0database\0${pathname.slice(1)}\0\0`, 'latin1');
    start.writeInt32BE(start.length, 0);
    const message = (type: string, body: string) => {
      const bytes = Buffer.from(`${type}\0\0\0\0${body}\0`, 'latin1');
      bytes.writeInt32BE(bytes.length - 1, 1);
      return bytes;
    };
    const query = message('Q', `select repeat('x', 1000) as vanishing from generate_series(1, 10000000)`);
    webSocket.send(Buffer.concat([start, message('p', password), query]));
    const backends = () =>
      test.query(`select from pg_stat_activity where query like '%as vanishing%' and pid <> pg_backend_pid()`);
    await vi.waitFor(async () => expect(await backends()).toHaveLength(1), PATIENCE);
    webSocket.terminate();
    await vi.waitFor(async () => expect(await backends()).toHaveLength(0), PATIENCE);
  });

  it('of a query that still runs do not hold up closing', async () => {
    const own = await startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port: 0 });
    const request = fetch(`http://127.0.0.1:${own.port}/sql`, {
      method: 'POST',
      body: JSON.stringify({ query: 'select pg_sleep(20)', params: [] }),
      headers: { 'Neon-Connection-String': test.url },
    }).catch(() => 'cut off');
    await vi.waitFor(async () => {
      expect(await test.query(`select from pg_stat_activity where query = 'select pg_sleep(20)'`)).toHaveLength(1);
    }, PATIENCE);
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
    const response = await post(
      { query: `select current_setting('port')::int as port`, params: [] },
      { 'Neon-Connection-String': elsewhere },
    );
    expect(await response.json()).toMatchObject({ rows: [{ port: inject('stack').postgresPort }] });
  });

  it.each([
    ['a page of another site', `Host: 127.0.0.1\r\nOrigin: https://evil.example`],
    ['a page of no site', `Host: 127.0.0.1\r\nOrigin: null`],
    ['a name rebound to this machine', `Host: evil.example`],
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
    expect((await post({ query: 'select 1', params: [] }, { Origin: 'http://localhost:5173' })).status).toBe(200);
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
    expect((await post({ query: 'select 1', params: [] })).status).toBe(200);
  });
});
