import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { describeContract } from '../contract.ts';
import { createTestDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { EXAMPLE } from '../example-contract.ts';
import { startFaultProxy } from '../fault-proxy.ts';
import { type Server, startServer } from './start-server.ts';
import { apiToken } from '../token.ts';

/** Windows has no signals: Node ends there at once what it is to send one to. */
const onUnix = it.skipIf(process.platform === 'win32');

const NODE = fileURLToPath(new URL('../../functions/node.ts', import.meta.url));

describeContract('the Node server', (options) => startServer(options, [NODE]));

describe('the Node server', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());

  /** A server that ends with its test, also with one that fails. */
  const start = async (databaseUrl: string) => {
    const server = await startServer({ databaseUrl, apiToken }, [NODE]);
    onTestFinished(() => void server.process.kill('SIGKILL'));
    return server;
  };

  /** The arguments of a server that has this variable, too. */
  const withVariable = (name: string, value: string) => [
    '--import',
    `data:text/javascript,process.env.${name} = '${value}'`,
    NODE,
  ];

  /** The arguments of a server that has this route beside those of health. */
  const withRoute = (route: string) => {
    const hook = `(url, context, next) => {
      const loaded = next(url, context);
      return url.endsWith('/routes/health.ts') ? { ...loaded, source: loaded.source + ${JSON.stringify(route)} } : loaded;
    }`;
    const script = `import { registerHooks } from 'node:module'; registerHooks({ load: ${hook} });`;
    return ['--import', `data:text/javascript,${encodeURIComponent(script)}`, NODE];
  };

  /** @returns what ends that */
  const lockTable = async () => {
    const superuser = new URL(inject('stack').superuser);
    superuser.pathname = new URL(database.url).pathname;
    const other = new pg.Client(superuser.href);
    await other.connect();
    await other.query(`begin; lock table ${EXAMPLE.table}`);
    return () => other.end();
  };

  /** @returns what transfers between two accounts of its own */
  const prepareTransfer = async (server: Server) => {
    const call = (path: string, body: object) => {
      const headers = { Authorization: `Bearer ${apiToken}`, 'Content-Type': 'application/json' };
      const init = {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { ...headers, 'Idempotency-Key': randomUUID() },
      };
      return server.fetch(path, init);
    };
    const openAccount = async (kind: string) =>
      (await (await call('/accounts', { name: kind, currency: 'EUR', kind })).json()) as { id: string };
    const [bank, ada] = [await openAccount('external'), await openAccount('ordinary')];
    return () => call('/transfers', { fromAccountId: bank.id, toAccountId: ada.id, amount: 1, currency: 'EUR' });
  };

  onUnix('finishes the requests in flight when it is told to end, and leaves no connection behind', async () => {
    const server = await start(database.url);
    const transfer = await prepareTransfer(server);

    const unlock = await lockTable();
    const transferred = transfer();
    await database.untilWaiting();

    server.process.kill('SIGTERM');
    const exited = once(server.process, 'exit');
    await vi.waitFor(() => expect(server.fetch('/health/live')).rejects.toThrow('fetch failed'), PATIENCE);
    server.process.kill('SIGTERM'); // once is not all that is sent: see functions/node.ts
    await unlock();
    const { status, headers } = await transferred;
    expect([status, headers.get('Connection')]).toEqual([201, 'close']); // no load balancer may send more on it
    const answered = performance.now();
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - answered).toBeLessThan(PATIENCE);
    // The gateway's own pool for HTTP requests keeps one for a while.
    const open = `select from pg_stat_activity where usename = 'app' and datname = current_database() and query ilike '%commit%'`;
    await vi.waitFor(async () => expect(await database.query(open)).toEqual([]), PATIENCE);
  });

  onUnix('finishes them also where Ctrl-C arrives twice, as through npm', async () => {
    const server = await start(database.url);
    const unlock = await lockTable();
    const answered = server.fetch(EXAMPLE.path, { headers: { Authorization: `Bearer ${apiToken}` } });
    await database.untilWaiting();
    const exited = once(server.process, 'exit');
    // What comes before the process has noticed the one in front of it is none.
    for (let i = 0; i < 20; i++) {
      server.process.kill('SIGINT');
      await setImmediate();
    }
    await vi.waitFor(() => expect(server.fetch('/health/live')).rejects.toThrow('fetch failed'), PATIENCE);
    await unlock();
    expect((await answered).status).toBe(200);
    expect(await exited).toEqual([0, null]);
  });

  onUnix('does not wait for them any longer at a Ctrl-C of some time later', async () => {
    const server = await start(database.url);
    const unlock = await lockTable();
    const answered = server.fetch(EXAMPLE.path, { headers: { Authorization: `Bearer ${apiToken}` } });
    const refused = expect(answered).rejects.toThrow('fetch failed');
    await database.untilWaiting();
    const exited = once(server.process, 'exit');
    server.process.kill('SIGINT');
    await vi.waitFor(() => expect(server.fetch('/health/live')).rejects.toThrow('fetch failed'), PATIENCE);
    const interrupting = setInterval(() => server.process.kill('SIGINT'), 500);
    onTestFinished(() => clearInterval(interrupting));
    expect(await exited).toEqual([null, 'SIGINT']);
    await refused;
    await unlock();
  });

  /**
   * Sends requests while the process is stopped, over connections that it knows and over new ones.
   * @returns the answers, when it has ended
   */
  const sendWhileStopped = async (server: Server, before: () => Promise<unknown>, meanwhile: () => unknown) => {
    const request = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n';
    const connectTo = async () => {
      const client = connect(Number(new URL(server.url).port), '127.0.0.1').on('error', () => {});
      await once(client, 'connect');
      return client;
    };
    const idle = Array.from({ length: 50 }, async () => {
      const client = await connectTo();
      client.write(request);
      await once(client, 'data');
      return client;
    });
    const exited = once(server.process, 'exit');
    const clients = await Promise.all(idle);
    await before();
    server.process.kill('SIGSTOP');
    clients.push(...(await Promise.all(Array.from({ length: 50 }, connectTo))));
    for (const client of clients) client.write(request);
    const answers = clients.map((client) => text(client).catch(() => 'reset'));
    await meanwhile();
    server.process.kill('SIGCONT');
    expect(await exited).toEqual([0, null]);
    return Promise.all(answers);
  };

  onUnix('answers what was sent before it is told to end', async () => {
    const server = await start(database.url);
    const end = () => server.process.kill('SIGTERM');
    const answers = await sendWhileStopped(server, async () => {}, end);
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 200 /);
  });

  onUnix(
    'answers what was sent while it still took requests, though it was held up until that time was over',
    async () => {
      const server = await start(database.url);
      const end = async () => {
        server.process.kill('SIGTERM');
        const isEnding = async () => (await server.fetch('/health/live')).headers.get('Connection') === 'close';
        await vi.waitFor(async () => expect(await isEnding()).toBe(true), PATIENCE);
      };
      const answers = await sendWhileStopped(server, end, () => sleep(1_100));
      for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 200 /);
    },
  );

  onUnix('takes requests for another second, and closes once, however often it is told to end', async () => {
    const script = `import { Server } from 'node:http'; const { close } = Server.prototype;
      Server.prototype.close = function (...rest) { console.log('closing'); return close.apply(this, rest); };`;
    const hook = `data:text/javascript,${encodeURIComponent(script)}`;
    const server = await startServer({ databaseUrl: database.url, apiToken }, ['--import', hook, NODE]);
    const log = text(server.process.stdout as Readable);
    const told = performance.now();
    await vi.waitFor(async () => {
      server.process.kill('SIGTERM');
      await expect(server.fetch('/health/live')).rejects.toThrow('fetch failed');
    }, PATIENCE);
    expect(performance.now() - told).toBeGreaterThan(999);
    expect((await log).match(/^closing$/gm)).toHaveLength(1);
  });

  onUnix('ends although the other end of a WebSocket says no more', async () => {
    const proxy = await startFaultProxy({ port: inject('stack').gatewayPort });
    const databaseUrl = new URL(database.url);
    databaseUrl.port = String(proxy.port);
    const server = await start(databaseUrl.href);
    const transfer = await prepareTransfer(server);
    expect((await transfer()).status).toBe(201);
    proxy.stall(true);
    const exited = once(server.process, 'exit');
    server.process.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    await proxy.close();
  });

  onUnix('ends although a client goes on asking on the connection of a request in flight', async () => {
    const server = await start(database.url);
    const unlock = await lockTable();
    const client = connect(Number(new URL(server.url).port), '127.0.0.1').on('error', () => {});
    let answers = '';
    client.on('data', (data) => (answers += String(data)));
    client.write(`GET ${EXAMPLE.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${apiToken}\r\n\r\n`);
    await database.untilWaiting();
    const exited = once(server.process, 'exit');
    server.process.kill('SIGTERM');
    await vi.waitFor(() => expect(server.fetch('/health/live')).rejects.toThrow('fetch failed'), PATIENCE);
    await unlock();
    const asking = setInterval(
      () => client.writable && client.write('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'),
      50,
    );
    expect(await exited).toEqual([0, null]);
    clearInterval(asking);
    client.destroy();
    expect(answers).toMatch(/^HTTP\/1.1 200 .*\r\nConnection: close\r\n/s);
  });

  onUnix('ends with a body that had begun before, though its head had promised to take more requests', async () => {
    const body = `{ start(body) { body.enqueue(Buffer.from('begun')); let n = 0; process.on('SIGTERM', () => n++ && body.close()); } }`;
    const route = `healthRoutes.get('/streamed', () => new Response(new ReadableStream(${body})));`;
    const server = await startServer({ databaseUrl: database.url, apiToken }, withRoute(route));
    const response = await server.fetch('/health/streamed');
    expect(response.headers.get('Connection')).toBe('keep-alive');
    const exited = once(server.process, 'exit');
    server.process.kill('SIGTERM');
    await vi.waitFor(() => expect(server.fetch('/health/live')).rejects.toThrow('fetch failed'), PATIENCE);
    server.process.kill('SIGTERM');
    expect(await response.text()).toBe('begun');
    const answered = performance.now();
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - answered).toBeLessThan(PATIENCE);
  });

  it('does not start where PORT is no port, and says so', async () => {
    const refused = ['-1', '1.5', '65536'].map(async (port) => {
      const started = startServer({ databaseUrl: database.url, apiToken }, withVariable('PORT', port));
      await expect(started).rejects.toThrow(`PORT must be a whole number from 0 to 65535, not "${port}".`);
    });
    await Promise.all(refused);
  });

  it('listens at HOST and nowhere else', async () => {
    const elsewhere = withVariable('HOST', '192.0.2.1'); // no machine's (RFC 5737)
    const started = startServer({ databaseUrl: database.url, apiToken }, elsewhere);
    await expect(started).rejects.toThrow('EADDRNOTAVAIL');
  });

  it('asks over TCP where DATABASE_TRANSPORT says so', async () => {
    const direct = new URL(database.url);
    direct.port = String(inject('stack').postgresPort);
    const server = await startServer({ databaseUrl: direct.href, apiToken }, withVariable('DATABASE_TRANSPORT', 'tcp'));
    expect(await (await server.fetch('/health/ready')).json()).toEqual({ status: 'ready', transports: ['tcp'] });
    await server.close();
  });

  it('says that it is not ready where nothing answers, while a load balancer still waits', async () => {
    const proxy = await startFaultProxy({ port: inject('stack').gatewayPort });
    proxy.stall(true);
    const databaseUrl = new URL(database.url);
    databaseUrl.port = String(proxy.port);
    const server = await start(databaseUrl.href);
    const { status, headers } = await server.fetch('/health/ready', { signal: AbortSignal.timeout(9_000) });
    expect([status, headers.get('Retry-After')]).toEqual([503, expect.stringMatching(/^[2-5]$/)]);
    await server.close();
    await proxy.close();
  });

  it.each([
    ['directly', `new Response(body())`],
    ['copied', `new Response(body()).clone()`], // which @hono/node-server sends in another way
  ])('breaks off where a body fails, sent %s, and says to the log alone why', async (_, response) => {
    const body = `new ReadableStream({ pull() { throw new Error('secret') } })`;
    const route = `const body = () => ${body}; healthRoutes.get('/broken', () => ${response});`;
    const server = await startServer({ databaseUrl: database.url, apiToken }, withRoute(route));
    const log = text(server.process.stderr as Readable);
    const client = connect(Number(new URL(server.url).port), '127.0.0.1');
    client.end('GET /health/broken HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n');
    expect(await text(client)).not.toMatch(/secret|^0\r\n/m); // nor the chunk that ends a whole body
    expect((await server.fetch('/health/live')).status).toBe(200);
    await server.close();
    const lines = (await log).split('\n').filter((line) => line.startsWith('{'));
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({ requestId: 'mine', error: expect.objectContaining({ message: 'secret' }) as object }),
    ]);
  });

  it('says nothing of a client that goes away while an answer waits for the one in front of it', async () => {
    const route = `healthRoutes.get('/slow', async (c) => {
      await new Promise((done) => c.env.incoming.socket.once('close', done));
      return c.text('');
    });`;
    const server = await startServer({ databaseUrl: database.url, apiToken }, withRoute(route));
    const log = text(server.process.stderr as Readable);
    const lines = createInterface(server.process.stdout as Readable);
    const client = connect(Number(new URL(server.url).port), '127.0.0.1');
    const requests = ['slow', 'live'].map((name) => `GET /health/${name} HTTP/1.1\r\nHost: x\r\n\r\n`);
    client.write(requests.join(''));
    const [line] = (await once(lines, 'line')) as [string];
    expect(JSON.parse(line)).toMatchObject({ path: '/health/live' });
    client.destroy();
    await once(lines, 'line'); // of the other
    await server.close();
    expect((await log).split('\n').filter((logged) => logged.startsWith('{'))).toEqual([]);
  });

  it('closes a connection with more requests in flight than it may have, and runs no more of them', async () => {
    const server = await start(database.url);
    let logged = 0;
    createInterface(server.process.stdout as Readable).on('line', () => logged++);
    const client = connect(Number(new URL(server.url).port), '127.0.0.1').on('error', () => {});
    let answers = '';
    client.on('data', (chunk) => (answers += String(chunk)));
    const request = 'GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n';
    for (const n of [100, 200]) {
      client.write(request.repeat(100));
      await vi.waitFor(() => expect(answers.match(/HTTP\/1\.1 /g)).toHaveLength(n), PATIENCE);
    }
    client.write(request.repeat(1_000));
    await once(client, 'close');
    await server.close();
    expect(logged).toBeLessThanOrEqual(300);
  });

  onUnix('forgets a connection that is closed', async () => {
    const script = `import { Socket } from 'node:net'; import { queryObjects } from 'node:v8';
      process.on('SIGUSR2', () => console.log('sockets: ' + queryObjects(Socket)));`;
    const hook = `data:text/javascript,${encodeURIComponent(script)}`;
    const server = await startServer({ databaseUrl: database.url, apiToken }, ['--import', hook, NODE]);
    onTestFinished(() => void server.process.kill('SIGKILL'));
    for (let i = 0; i < 50; i++) await server.fetch('/health/live', { headers: { Connection: 'close' } });
    const lines = createInterface(server.process.stdout as Readable);
    const counted = new Promise<string>((resolve) => {
      lines.on('line', (line) => line.startsWith('sockets: ') && resolve(line));
    });
    server.process.kill('SIGUSR2');
    expect(Number((await counted).slice('sockets: '.length))).toBeLessThan(25);
    await server.close();
  });

  it('answers although nobody reads its log any more', async () => {
    const route = `healthRoutes.get('/broken', () => { throw new Error('broken'); });`;
    const server = await startServer({ databaseUrl: database.url, apiToken }, withRoute(route));
    server.process.stdout?.destroy();
    server.process.stderr?.destroy();
    for (let i = 0; i < 5; i++) {
      expect((await server.fetch('/health/live')).status).toBe(200);
      expect((await server.fetch('/health/broken')).status).toBe(500);
    }
    await server.close();
    expect(server.process.exitCode).toBe(0);
  });

  it('keeps an idle connection longer than a load balancer in front of it', async () => {
    const server = await start(database.url);
    const { headers } = await server.fetch('/health/live');
    expect(Number(/^timeout=(\d+)$/.exec(headers.get('Keep-Alive') ?? '')?.[1])).toBeGreaterThan(600);
    await server.close();
  });

  it('answers a health check that names no host', async () => {
    const server = await start(database.url);
    const client = connect(Number(new URL(server.url).port), '127.0.0.1').end('GET /health/live HTTP/1.0\r\n\r\n');
    expect(await text(client)).toMatch(/^HTTP\/1.1 200 /);
    await server.close();
  });

  it('calls a body that breaks off the caller’s mistake', async () => {
    const server = await start(database.url);
    const lines = createInterface(server.process.stdout as Readable);
    const client = connect(Number(new URL(server.url).port), '127.0.0.1');
    const headers = `Host: x\r\nAuthorization: Bearer ${apiToken}\r\nTransfer-Encoding: chunked`;
    client.write(`POST ${EXAMPLE.path} HTTP/1.1\r\n${headers}\r\n\r\n1\r\n{\r\n`);
    setTimeout(() => client.destroy(), 200);
    const [line] = (await once(lines, 'line')) as [string];
    expect(JSON.parse(line)).toMatchObject({ path: EXAMPLE.path, status: 400 });
    await server.close();
  });

  onUnix('ends although a connection never sends a request', async () => {
    const server = await start(database.url);
    // Nor does its other end close it when it is told that nothing more comes.
    const silent = connect({ port: Number(new URL(server.url).port), host: '127.0.0.1', allowHalfOpen: true });
    silent.on('error', () => {});
    await once(silent, 'connect');
    const exited = once(server.process, 'exit');
    const told = performance.now();
    server.process.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - told).toBeLessThan(PATIENCE);
    silent.destroy();
  });
});
