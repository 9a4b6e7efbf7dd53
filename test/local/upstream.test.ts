import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { neon, neonConfig, Pool } from '@neondatabase/serverless';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { logIn } from '../../local/gateway-login.ts';
import { cancel, CONNECT_DEADLINE, connectUpstream, parseUpstream, stop } from '../../local/gateway-upstream.ts';
import { anyFreePort } from '../../local/ports.ts';
import { errorResponse, int32, message, PROTOCOL_3, startupMessage } from '../../local/postgres-messages.ts';
import { startListening } from '../../local/start-listening.ts';
import { startTemporaryStack, type TemporaryStack } from '../../local/temporary-stack.ts';

const hasOpenssl = (() => {
  try {
    return Boolean(execFileSync('openssl', ['version']));
  } catch {
    return false;
  }
})();

describe.skipIf(!hasOpenssl)('an upstream with TLS', () => {
  let stack: TemporaryStack;
  let gateway: Gateway;
  let certificate: string;

  beforeAll(async () => {
    stack = await startTemporaryStack({ settings: { fsync: 'off' } });
    certificate = path.join(stack.directory, 'server.crt');
    const key = path.join(stack.directory, 'server.key');
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
    const names = ['-addext', 'subjectAltName=DNS:localhost'];
    execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
    const { uid, gid } = await stat(stack.postgres.dataDirectory);
    for (const file of [certificate, key]) {
      const copy = path.join(stack.postgres.dataDirectory, path.basename(file));
      await copyFile(file, copy);
      await chmod(copy, 0o600);
      await chown(copy, uid, gid);
    }
    const admin = await stack.postgres.connect();
    await admin.query('alter system set ssl = on');
    await admin.query('select pg_reload_conf()');
    await admin.end();
    neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
    neonConfig.wsProxy = (host, port) => `${host}:${port}/v2`;
    neonConfig.useSecureWebSocket = false;
    const upstream = `postgresql://localhost:${stack.postgres.port}?sslmode=verify-full&sslrootcert=${certificate}`;
    gateway = await startGateway({ upstream, port: 0 });
  });

  afterAll(async () => {
    await gateway.close();
    await stack.close();
    for (const gone of [stack.directory, stack.postgres.dataDirectory]) expect(existsSync(gone)).toBe(false);
  });

  const ENCRYPTED = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
  const through = (port: number) => stack.url.app.replace(/:\d+\//, `:${port}/`);

  it('is reached encrypted over HTTP, a WebSocket and TCP', async () => {
    const connectionString = through(gateway.port);
    expect(await neon(connectionString).query(ENCRYPTED)).toEqual([{ ssl: true }]);
    const pool = new Pool({ connectionString });
    expect((await pool.query(ENCRYPTED)).rows).toEqual([{ ssl: true }]);
    await pool.end();
    const client = new pg.Client({ connectionString });
    await client.connect();
    expect((await client.query(ENCRYPTED)).rows).toEqual([{ ssl: true }]);
    await client.end();
  });

  it('is not trusted under another name or with another certificate', async () => {
    for (const upstream of [
      `postgresql://127.0.0.1:${stack.postgres.port}?sslmode=verify-full&sslrootcert=${certificate}`,
      `postgresql://localhost:${stack.postgres.port}?sslmode=verify-full&sslrootcert=system`,
    ]) {
      const wary = await startGateway({ upstream, port: 0 });
      await expect(neon(through(wary.port))`select 1`).rejects.toThrow('Control plane request failed');
      const client = new pg.Client({ connectionString: through(wary.port) });
      await expect(client.connect()).rejects.toMatchObject({ code: '08006' });
      await wary.close();
    }
  });
});

it('an upstream that does not say whether it has TLS is given up', async () => {
  const deadline = new AbortController();
  const silent = createServer((socket) => socket.on('data', () => deadline.abort()));
  const port = await startListening(silent);
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(deadline.signal);
  await expect(connectUpstream({ host: '127.0.0.1', port, tls: {} })).rejects.toThrow('the connection ended');
  timeout.mockRestore();
  silent.close();
  await once(silent, 'close'); // with every connection
});

it('an upstream that has no TLS is hung up on', async () => {
  const plain = createServer((socket) => socket.on('data', () => socket.write('N')));
  const port = await startListening(plain);
  await expect(connectUpstream({ host: '127.0.0.1', port, tls: {} })).rejects.toThrow('does not support TLS');
  plain.close();
  await once(plain, 'close'); // with every connection
});

it.each([
  ['in clear text', int32(3)],
  ['hashed with MD5', Buffer.concat([int32(5), Buffer.from('salt')])],
])('an upstream that wants the password %s gets it', async (_, request) => {
  const ready = message('Z', 'I');
  const answers = [
    message('R', request),
    Buffer.concat([message('R', int32(0)), ready]),
    Buffer.concat([message('C', 'SELECT 0\0'), ready]),
  ];
  const passwords: string[] = [];
  const old = createServer((socket) => {
    socket.on('data', (data) => {
      if (data[0] === 'p'.charCodeAt(0)) passwords.push(data.toString('latin1', 5));
      socket.write(answers.shift() ?? '');
    });
  });
  const port = await startListening(old);
  const gateway = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0 });
  const client = new pg.Client({ connectionString: `postgresql://app:hunter2@127.0.0.1:${gateway.port}/app` });
  client.on('error', () => {}); // its end
  await client.connect();
  expect(passwords).toEqual([expect.stringMatching(/^(hunter2|md5[\da-f]{32})\0$/)]);
  await gateway.close();
  old.close();
});

it('an upstream that ends the log-in behind the password, as a full pooler does, is heard', async () => {
  const answers = [
    Buffer.concat([message('R', int32(0)), message('Z', 'I')]),
    errorResponse('08P01', 'query_wait_timeout'),
  ];
  const full = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write(answers.shift() ?? ''));
  });
  const port = await startListening(full);
  const gateway = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0 });
  const client = new pg.Client({ connectionString: `postgresql://app:hunter2@127.0.0.1:${gateway.port}/app` });
  await expect(client.connect()).rejects.toMatchObject({ code: '08P01', message: 'query_wait_timeout' });
  await gateway.close();
  full.close();
});

it('a row that is too large is not waited for', async () => {
  const ready = message('Z', 'I');
  const answers = [
    Buffer.concat([message('R', int32(0)), ready]),
    Buffer.concat([message('C', 'SELECT 0\0'), ready]),
    Buffer.concat([Buffer.from('D'), int32(2 ** 30)]), // and no more of it
  ];
  const large = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write(answers.shift() ?? ''));
  });
  const port = await startListening(large);
  const gateway = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0 });
  const response = await fetch(`${gateway.url}/sql`, {
    method: 'POST',
    body: '{"query":"select 1"}',
    headers: { 'Neon-Connection-String': `postgresql://app:hunter2@127.0.0.1:${gateway.port}/app` },
  });
  expect(response.status).toBe(507);
  await gateway.close();
  large.close();
});

it.each([
  ['asks for a log-in that nobody knows', message('R', int32(4711))],
  ['says a message too short', message('K', '')],
  ['says an error without an end', message('E', 'SFATAL\0')],
  ['says a notice without an end', message('N', 'SNOTICE\0')],
])('an upstream that %s does not end the gateway', async (_, said) => {
  const strange = createServer((socket) => void socket.on('error', () => {}).end(said));
  const port = await startListening(strange);
  const gateway = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0 });
  const connectionString = `postgresql://app:hunter2@127.0.0.1:${gateway.port}/app`;
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`${gateway.url}/sql`, {
      method: 'POST',
      body: '{"query":"select 1"}',
      headers: { 'Neon-Connection-String': connectionString },
    });
    expect(response.status).toBe(500);
  }
  await gateway.close();
  strange.close();
});

it('an upstream that refuses a password in another language is told of in the words that clients know it by', async () => {
  const foreign = createServer((socket) => {
    socket.on('error', () => {}).once('data', () => socket.end(errorResponse('28P01', 'Passwort falsch')));
  });
  const port = await startListening(foreign);
  const refused = logIn({ host: '127.0.0.1', port }, { user: 'app' }, 'wrong');
  await expect(refused).rejects.toThrow(/^password authentication failed for user 'app'$/);
  foreign.close();
});

it('an upstream that refuses a log-in and does not hang up is hung up on', async () => {
  const refusing = createServer((socket) => {
    socket.on('error', () => {}).once('data', () => socket.write(errorResponse('53300', 'full')));
  });
  const port = await startListening(refusing);
  const connected = once(refusing, 'connection') as Promise<[Socket]>;
  await expect(logIn({ host: '127.0.0.1', port }, { user: 'app' }, 'hunter2')).rejects.toThrow('full');
  const [socket] = await connected;
  if (!socket.closed) await once(socket.resume(), 'close');
  refusing.close();
});

it.each([
  ['says nothing', []],
  ['lets the gateway in and says nothing more', [message('R', int32(0)), message('Z', 'I')]],
])('an upstream that %s keeps no place for ever', async (_, said) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const asked = Promise.withResolvers<Socket>();
  const silent = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', () => {
        if (said.length === 0) return asked.resolve(socket);
        socket.write(Buffer.concat(said));
        socket.once('data', () => asked.resolve(socket));
      });
  });
  const port = await startListening(silent);
  const refused = expect(logIn({ host: '127.0.0.1', port }, { user: 'app' }, 'hunter2')).rejects.toThrow('timeout');
  const socket = await asked.promise;
  vi.advanceTimersByTime(CONNECT_DEADLINE);
  await refused;
  if (!socket.closed) await once(socket.resume(), 'close');
  vi.useRealTimers();
  silent.close();
});

it('a client that does not get to log in within a minute is hung up on, and so is its upstream', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const silent = createServer((socket) => void socket.on('error', () => {}).resume());
  const port = await startListening(silent);
  const gateway = await startGateway({ upstream: { host: '127.0.0.1', port }, port: 0 });
  const connected = once(silent, 'connection') as Promise<[Socket]>;
  const client = connect(gateway.port, '127.0.0.1').resume();
  client.write(startupMessage({ user: 'app', database: 'app' }, PROTOCOL_3));
  const [socket] = await connected;
  const closed = [client, socket].map((end) => once(end, 'close'));
  vi.advanceTimersByTime(60_000);
  await Promise.all(closed);
  vi.useRealTimers();
  await gateway.close();
  silent.close();
});

it('a request to cancel is not lost where a relay ends both ways as soon as one end does', async () => {
  const heard = vi.fn();
  const server = createServer((socket) => {
    let ended = false;
    socket.on('end', () => (ended = true));
    const forward = () => {
      if (!ended) heard();
      socket.end();
    };
    socket.once('data', () => void setTimeout(20).then(forward));
  });
  await cancel({ host: '127.0.0.1', port: await startListening(server) }, int32(1, 2));
  expect(heard).toHaveBeenCalledOnce();
  server.close();
  await cancel({ host: '127.0.0.1', port: await anyFreePort() }, int32(1, 2)); // of a server that is away there is none
});

it('a connection whose server does not hear that it is to stop is given up', async () => {
  const sockets: Socket[] = [];
  const silent = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket.on('error', () => {}).resume());
  });
  const upstream = { host: '127.0.0.1', port: await startListening(silent) };
  const kept = await connectUpstream(upstream);
  const socket = await connectUpstream(upstream);
  const started = performance.now();
  await stop(upstream, { socket, key: int32(1, 2) });
  expect(socket.destroyed).toBe(true);
  expect(performance.now() - started).toBeLessThan(15_000);
  expect(kept.destroyed).toBe(false); // the deadline was for connecting
  for (const accepted of sockets) accepted.destroy();
  silent.close();
}, 60_000);

describe('an upstream URL', () => {
  it('says where, and whether encrypted: by default it is, but for this machine', () => {
    expect(parseUpstream('postgres://u:p@127.0.0.1/db')).toEqual({ host: '127.0.0.1', port: 5432 });
    expect(parseUpstream('postgresql://[::1]:6000')).toEqual({ host: '::1', port: 6000 });
    expect(parseUpstream('postgresql://u:p@db.example.com/x')).toEqual({ host: 'db.example.com', port: 5432, tls: {} });
    expect(parseUpstream('postgresql://db.example.com?sslmode=disable')).toEqual({
      host: 'db.example.com',
      port: 5432,
    });
    expect(parseUpstream('postgresql://db.example.com?sslmode=require&sslrootcert=system').tls).toEqual({});
    expect(parseUpstream('postgresql://db.example.com?sslmode=no-verify').tls).toEqual({ rejectUnauthorized: false });
  });

  it.each([
    '',
    'db.example.com',
    'https://x',
    'postgresql://',
    'postgresql://u:secret@h?sslmode=maybe',
    'postgresql://u:x@secret/x@db.example.com/db',
  ])('that is %j is refused, without what may be secret', (url) => {
    expect(() => parseUpstream(url)).toThrow(/^The upstream/);
    expect(() => parseUpstream(url)).not.toThrow('secret');
  });
});
