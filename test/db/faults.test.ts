import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { neonConfig } from '@neondatabase/serverless';
import { sql } from 'drizzle-orm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { startGateway } from '../../local/gateway.ts';
import { anyFreePort } from '../../local/ports.ts';
import { CANCEL_REQUEST, errorResponse, int32, message } from '../../local/postgres-messages.ts';
import { startListening } from '../../local/start-listening.ts';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { tcp } from '../../src/db/tcp.ts';
import { PATIENCE } from '../database.ts';
import { failure, WAYS } from './ways.ts';

const servers: Server[] = [];

afterEach(async () => {
  neonConfig.fetchFunction = undefined;
  for (const server of servers.splice(0)) server.close();
});

function listen(server: Server): Promise<number> {
  servers.push(server);
  return startListening(server);
}

const GREETING = Buffer.concat([message('R', int32(0)), message('Z', 'I')]);

/** The answer to a transaction's first statement. */
const BEGUN = Buffer.concat([
  ...['BEGIN', 'SET', 'SELECT 0'].map((tag) => message('C', `${tag}\0`)),
  message('Z', 'T'),
]);

/**
 * A server that answers what a client sends at a time with the next of `answers`: the start-up, then flight by flight.
 * @param onCancel gives the answer to a request to cancel
 */
async function answering(
  way: keyof typeof WAYS,
  answers: Buffer[],
  onCancel: () => Buffer | string = () => '',
): Promise<number> {
  const answer = (sent: Buffer, left: Buffer[]) =>
    sent.length === 16 && sent.readInt32BE(4) === CANCEL_REQUEST ? onCancel() : (left.shift() ?? '');
  if (way === 'tcp') {
    const accept = (socket: Socket) => {
      const left = [...answers];
      socket.on('error', () => {}).on('data', (sent) => socket.write(answer(sent, left)));
    };
    return listen(createServer(accept));
  }
  const server = createHttpServer();
  new WebSocketServer({ server }).on('connection', (socket) => {
    // The first flight comes together with the start-up.
    const left = [Buffer.concat(answers.slice(0, 2)), ...answers.slice(2)];
    socket.on('message', (sent: Buffer) => socket.send(answer(sent, left)));
  });
  return listen(server);
}

/** What a one-shot, a batch and a transaction fail with at a server. */
async function failures(port: number, way: keyof typeof WAYS) {
  const { transports } = WAYS[way];
  const url = `postgresql://app:hunter2@127.0.0.1:${port}/app`;
  const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', retry: { attempts: 1 } });
  const errors = [
    await failure(database.execute(sql`select 1`)),
    await failure(database.batch([database.execute(sql`select 1`)], { accessMode: 'read only' })),
    await failure(database.transaction((tx) => tx.execute(sql`select 1`))),
  ];
  await database.close();
  for (const error of errors) expect(`${error.stack}${String(error.cause)}`).not.toContain('hunter2');
  return errors.map(({ kind }) => kind);
}

/** How Neon's proxy passes on why the server lets nobody in. */
const refusal = (text: string, code: string) =>
  JSON.stringify({ message: text, code, detail: null, hint: null, severity: 'FATAL', routine: 'InitPostgres' });

describe('at an HTTP endpoint', () => {
  it.each([
    [500, JSON.stringify({ message: 'Control plane request failed', code: '', severity: '' }), 'unavailable'],
    [500, refusal('role "app" is not permitted to log in', '28000'), 'auth'],
    [500, refusal('database "app" does not exist', '3D000'), 'query'],
    [500, refusal('no such user', '08P01'), 'auth'],
    [500, refusal('server login failed: wrong password type', '08P01'), 'connection'],
    [500, refusal('sorry, too many clients already', '53300'), 'unavailable'],
    [500, refusal('terminating connection due to administrator command', '57P01'), 'unavailable'],
    [500, JSON.stringify({ message: 'no such user', code: '40001', severity: 'ERROR' }), 'unavailable'],
    [500, '{"severity":"FATAL",', 'connection'],
    [500, '{"severity":"FATAL","code":"22023","message":1}', 'connection'],
    [400, '{"severity":"ERROR","code":{"toString":1}}', 'connection'],
    [502, 'Bad Gateway', 'unavailable'],
    [503, '<html>try later</html>', 'unavailable'],
    [200, 'not JSON', 'connection'],
    [200, 'null', 'connection'],
    [400, 'not JSON', 'connection'],
    [400, JSON.stringify({ message: 'password authentication failed for user "app"', code: '', severity: '' }), 'auth'],
    [400, JSON.stringify({ message: 'This connection is … from a blocked network.', code: '', severity: '' }), 'auth'],
    [400, JSON.stringify({ message: 'Control plane request failed', code: 'XX000', severity: 'ERROR' }), 'unavailable'],
    [400, JSON.stringify({ message: 'terminating connection', code: '57P01', severity: 'FATAL' }), 'unavailable'],
    [400, JSON.stringify({ message: 'too many clients', code: '53300', severity: 'FATAL' }), 'unavailable'],
    [413, 'request is too large (max is 10 bytes)', 'query'],
    [507, 'response is too large (max is 10 bytes)', 'query'],
    [429, 'too many requests', 'unavailable'],
    [429, 'slow down', 'unavailable'],
  ])('status %s with %s is %s', async (status, body, kind) => {
    const server = createHttpServer((request, response) =>
      request.resume().on('end', () => response.writeHead(status).end(body)),
    );
    server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 500 no\r\n\r\n'));
    const [oneShot, batch, transaction] = await failures(await listen(server), 'the Neon driver');
    expect([oneShot, batch, transaction]).toEqual([kind, kind, 'connection']);
  });

  it('a long answer that begins like a refusal over and over keeps the process busy no longer than another', async () => {
    const body = 'Server error (HTTP status 500): {'.repeat(100_000);
    const server = createHttpServer((request, response) =>
      request.resume().on('end', () => response.writeHead(500).end(body)),
    );
    const [oneShot, batch] = await failures(await listen(server), 'the Neon driver');
    expect([oneShot, batch]).toEqual(['unavailable', 'unavailable']);
  });

  it.each([200, 400, 500])('an answer with status %s that breaks off is a broken connection', async (status) => {
    const server = createHttpServer((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-length': 100 }).write('{', () => response.destroy());
    });
    const [oneShot, batch] = await failures(await listen(server), 'the Neon driver');
    expect([oneShot, batch]).toEqual(['connection', 'connection']);
  });

  it.each([
    [2, 'read only', 'connection'],
    [4, 'read only', 'connection'],
    [2, 'read write', 'outcome-unknown'],
    [4, 'read write', 'outcome-unknown'],
  ] as const)('%s results for the three statements of a batch that is %s are %s', async (count, accessMode, kind) => {
    const results = Array.from({ length: count }, () => ({ command: 'SET', rowCount: 0, fields: [], rows: [] }));
    const server = createHttpServer((request, response) =>
      request.resume().on('end', () => response.end(JSON.stringify({ results }))),
    );
    const url = `postgresql://app:hunter2@127.0.0.1:${await listen(server)}/app`;
    const { transports } = WAYS['the Neon driver'];
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', retry: { attempts: 1 } });
    const work = database.batch([database.execute(sql`select 1`)], { accessMode });
    expect(await failure(work)).toMatchObject({ kind, retryable: false });
  });

  it('a gateway whose server is away is unavailable over each transport', async () => {
    const gateway = await startGateway({ upstream: { host: '127.0.0.1', port: await anyFreePort() }, port: 0 });
    expect(await failures(gateway.port, 'the Neon driver')).toEqual(['unavailable', 'unavailable', 'unavailable']);
    await gateway.close();
  });

  it('a name that does not resolve is a failed connection, and safe to try again', async () => {
    // The driver's own request, to a name that cannot exist (RFC 6761).
    neonConfig.fetchFunction = (_url: string, init: RequestInit) => fetch('http://database.invalid/sql', init);
    const { transports } = WAYS['the Neon driver'];
    const url = 'postgresql://app:hunter2@127.0.0.1:1/app';
    const database = createDatabase({ url, schema: {}, transports, sockets: 'instance', retry: { attempts: 1 } });
    expect(await failure(database.execute(sql`select 1`))).toMatchObject({ kind: 'connection', retryable: true });
  });
});

describe.each(Object.keys(WAYS) as (keyof typeof WAYS)[])('over %s', (way) => {
  it.each<[string, (socket: Socket) => unknown]>([
    ['resets', (socket) => socket.resetAndDestroy()],
    ['hangs up', (socket) => socket.destroy()],
    ['hangs up when it is asked', (socket) => socket.once('data', () => socket.end())],
    ['answers with garbage', (socket) => socket.once('data', () => socket.end('\u0007\u0001garbage'))],
  ])('a server that %s is a failed connection', async (_fault, accept) => {
    const port = await listen(createServer((socket) => accept(socket.on('error', () => {}))));
    expect(await failures(port, way)).toEqual(['connection', 'connection', 'connection']);
  });

  it.each<[string, Buffer[]]>([
    ['asks for a log-in by GSSAPI', [message('R', int32(7))]],
    ['sends a row of less than no values', [GREETING, message('D', Buffer.from([0xff, 0xff]))]],
    ['answers once too often', [GREETING, Buffer.concat([message('C', 'SELECT 0\0'), BEGUN])]],
    [
      'completes what has failed',
      [GREETING, Buffer.concat([errorResponse('', '', 'ERROR'), message('C', 'SELECT 1\0')])],
    ],
  ])('a server that %s is a failed connection, and not the end of the process', async (_fault, answers) => {
    const url = `postgresql://app:hunter2@127.0.0.1:${await answering(way, answers)}/app`;
    const options = { url, schema: {}, sockets: 'instance', retry: { attempts: 1 } } as const;
    const database = createDatabase({ ...options, transports: WAYS[way].transports });
    expect((await failure(database.transaction((tx) => tx.execute(sql`select 1`)))).kind).toBe('connection');
    await database.close();
    const open = () => new Promise((resolve) => servers.at(-1)?.getConnections((_error, count) => resolve(count)));
    await vi.waitFor(async () => expect(await open()).toBe(0), PATIENCE);
  });

  it('what was sent with a log-in that is refused has not run, whatever the refusal says', async () => {
    const port = await answering(way, [errorResponse('08P01', 'bouncer config error', 'FATAL')]);
    const options = { url: `postgresql://app:hunter2@127.0.0.1:${port}/app`, schema: {}, sockets: 'instance' } as const;
    const database = createDatabase({ ...options, transports: WAYS[way].transports, retry: { attempts: 1 } });
    const work = database.transaction((tx) => tx.execute(sql`select 1`));
    expect(await failure(work)).toMatchObject({ kind: 'connection', retryable: true });
    await database.close();
  });

  it('a server that answers a request to cancel with a broken message does not end the process', async () => {
    const greeting = Buffer.concat([message('K', int32(1, 2)), GREETING]);
    const onCancel = vi.fn(() => message('K', ''));
    const url = `postgresql://app:hunter2@127.0.0.1:${await answering(way, [greeting, BEGUN], onCancel)}/app`;
    const database = createDatabase({ url, schema: {}, sockets: 'instance', transports: WAYS[way].transports });
    const controller = new AbortController();
    const work = database.forRequest({ signal: controller.signal }).transaction(async (tx) => {
      await tx.execute(sql`select 1`);
      setTimeout(() => controller.abort()); // when the next one has left
      await tx.execute(sql`select 1`);
    });
    expect((await failure(work)).kind).toBe('timeout');
    await database.close();
    expect(onCancel).toHaveBeenCalled();
  });

  it('a command tag of many digits keeps the process busy no longer than another', async () => {
    const tags = ['BEGIN', 'SET', `${'1'.repeat(100_000)}x`].map((tag) => message('C', `${tag}\0`));
    const committed = Buffer.concat([message('C', 'COMMIT\0'), message('Z', 'I')]);
    const port = await answering(way, [GREETING, Buffer.concat([...tags, message('Z', 'T')]), committed]);
    const url = `postgresql://app:hunter2@127.0.0.1:${port}/app`;
    const database = createDatabase({ url, schema: {}, sockets: 'instance', transports: WAYS[way].transports });
    const started = performance.now();
    const { rowCount } = await database.transaction((tx) => tx.execute(sql`select 1`));
    expect(rowCount).toBeNull();
    expect(performance.now() - started).toBeLessThan(5_000);
    await database.close();
  });

  it('a COMMIT that a server counts as answered before it says so is of unknown outcome', async () => {
    const url = `postgresql://app:hunter2@127.0.0.1:${await answering(way, [GREETING, BEGUN, message('Z', 'I')])}/app`;
    const database = createDatabase({ url, schema: {}, sockets: 'instance', transports: WAYS[way].transports });
    const transfer = () => failure(database.transaction((tx) => tx.execute(sql`select 1`)));
    expect((await transfer()).kind).toBe('outcome-unknown');
    // Nor is its connection used again, on which the answer may still come.
    expect((await transfer()).kind).toBe('outcome-unknown');
    await database.close();
  });

  // All that it says itself has the code of a protocol violation: src/client.c, src/objects.c and src/janitor.c of PgBouncer.
  it.each([
    ['SASL authentication failed', 'auth', 2],
    ['no such user', 'auth', 2],
    ['no such database: app', 'query', 1],
    ['no more connections allowed (max_client_conn)', 'unavailable', 1],
    ['query_wait_timeout', 'unavailable', 1],
    ['server login has been failing, cached error: connect failed (server_login_retry)', 'unavailable', 1],
  ])('"%s" by PgBouncer, at the log-in or later, is %s, and the URL asked for %s times', async (text, kind, asked) => {
    for (const before of [[], [GREETING]]) {
      const pooler = createServer((socket) => {
        const answers = [...before];
        socket.on('error', () => {}).on('data', () => socket.write(answers.shift() ?? errorResponse('08P01', text)));
      });
      const upstream = { host: '127.0.0.1', port: await listen(pooler) };
      const gateway = await startGateway({ upstream, port: 0 });
      const { port } = way === 'tcp' ? upstream : gateway;
      const works: ((database: Database) => PromiseLike<unknown>)[] = [
        (database) => database.execute(sql`select 1`),
        (database) => database.batch([database.execute(sql`select 1`)]), // that nothing has run is known, and no unknown outcome
        (database) => database.transaction((tx) => tx.execute(sql`select 1`)),
      ];
      for (const work of works) {
        const url = vi.fn(() => `postgresql://app:hunter2@127.0.0.1:${port}/app`);
        const options = { schema: {}, sockets: 'instance', retry: { attempts: 1 } } as const;
        const database = createDatabase({ url, transports: WAYS[way].transports, ...options });
        expect(await failure(work(database))).toMatchObject({ kind, retryable: kind === 'unavailable' });
        expect(url).toHaveBeenCalledTimes(asked);
        await database.close();
      }
      await gateway.close();
    }
  });
});

it('a COMMIT that is not answered is of unknown outcome, whatever else comes in the packet that passes for its answer', async () => {
  const server = createHttpServer();
  new WebSocketServer({ server }).on('connection', (socket, { socket: stream }) => {
    socket.once('message', () =>
      socket.send(GREETING, () => {
        // A frame with half of the answers and the end of the flight, and a frame behind it.
        stream.cork();
        socket.send(Buffer.concat([message('C', 'BEGIN\0'), message('C', 'SET\0'), message('Z', 'T')]));
        socket.send(message('N', '\0'));
        stream.uncork();
      }),
    );
  });
  const url = `postgresql://app:hunter2@127.0.0.1:${await listen(server)}/app`;
  const { transports } = WAYS['the Neon driver'];
  const database = createDatabase({
    url,
    schema: {},
    transports: { websocket: transports.websocket },
    sockets: 'instance',
  });
  expect((await failure(database.batch([database.execute(sql`select 1`)]))).kind).toBe('outcome-unknown');
  await database.close();
});

it('over tcp, what an aborted request has waiting for its log-in is not sent after that', async () => {
  let sent = '';
  const accepted = Promise.withResolvers<Socket>();
  const closed = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', (data) => (sent += String(data)));
    socket.on('close', () => closed.resolve());
    accepted.resolve(socket);
  });
  const url = `postgresql://app:hunter2@127.0.0.1:${await listen(server)}/app`;
  const database = createDatabase({ url, schema: {}, transports: { tcp: tcp() }, sockets: 'instance' });
  const controller = new AbortController();
  const work = failure(database.forRequest({ signal: controller.signal }).execute(sql`select 'sent'`));
  const socket = await accepted.promise;
  controller.abort();
  expect((await work).kind).toBe('timeout');
  socket.write(GREETING);
  await closed.promise;
  expect(sent).not.toContain('sent');
});

it('over tcp, a server that hangs up behind an error has told what happened', async () => {
  const server = createServer((socket) => {
    const answers = [GREETING, errorResponse('40001', 'lost', 'ERROR')];
    socket
      .on('error', () => {})
      .on('data', () => {
        socket.write(answers.shift() ?? '');
        if (answers.length === 0) socket.end();
      });
  });
  const url = `postgresql://app:hunter2@127.0.0.1:${await listen(server)}/app`;
  const options = { url, schema: {}, sockets: 'instance', retry: { attempts: 1 } } as const;
  const database = createDatabase({ ...options, transports: { tcp: tcp() } });
  const work = database.transaction((tx) => tx.execute(sql`select 1`));
  expect(await failure(work)).toMatchObject({ kind: 'serialization', code: '40001', retryable: true });
  await database.close();
});

it('over tcp, a name that does not resolve is a failed connection, and safe to try again', async () => {
  const url = 'postgresql://app:hunter2@database.invalid/app';
  const database = createDatabase({
    url,
    schema: {},
    transports: { tcp: tcp() },
    sockets: 'instance',
    retry: { attempts: 1 },
  });
  expect(await failure(database.execute(sql`select 1`))).toMatchObject({ kind: 'connection', retryable: true });
  await database.close();
});
