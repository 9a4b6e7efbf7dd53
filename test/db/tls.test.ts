import { execFileSync } from 'node:child_process';
import dns from 'node:dns';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getCACertificates, setDefaultCACertificates, TLSSocket } from 'node:tls';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { startListening } from '../../local/start-listening.ts';
import { createDatabase } from '../../src/db/database.ts';
import { tcp } from '../../src/db/tcp.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';
import { failure } from './ways.ts';

const hasOpenssl = (() => {
  try {
    return Boolean(execFileSync('openssl', ['version']));
  } catch {
    return false;
  }
})();

/** What a client sends that wants TLS: https://www.postgresql.org/docs/current/protocol-message-formats.html. */
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');

describe.skipIf(!hasOpenssl)('over tcp, with TLS', () => {
  let directory: string;
  let certificate: string;
  let server: Server;
  let test: TestDatabase;
  let url: string;
  const trusted = getCACertificates('default');

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'tls-'));
    const files = ['-keyout', path.join(directory, 'key'), '-out', path.join(directory, 'certificate')];
    const names = ['-subj', '/CN=database.example', '-addext', 'subjectAltName=DNS:database.example'];
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...names, ...files];
    execFileSync('openssl', request, { stdio: 'ignore' });
    certificate = await readFile(path.join(directory, 'certificate'), 'utf8');
    const key = await readFile(path.join(directory, 'key'));
    // In front of PostgreSQL, and like a provider: without TLS nothing is answered.
    server = createServer((socket) => {
      const answer = (first: Buffer) => {
        if (!first.equals(SSL_REQUEST)) {
          socket.destroy();
          return;
        }
        socket.write('S');
        const client = new TLSSocket(socket, { isServer: true, key, cert: certificate });
        const postgres = connect(inject('stack').postgresPort, '127.0.0.1');
        postgres.on('error', () => {}).on('close', () => client.destroy());
        client.on('error', () => {}).on('close', () => postgres.destroy());
        client.pipe(postgres).pipe(client);
      };
      socket.on('error', () => {}).once('data', answer);
    });
    const port = await startListening(server);
    test = await createEmptyDatabase(port);
    url = test.url.replace('127.0.0.1', 'database.example');
    // Every name leads here.
    const lookup = (_name: string, { all }: dns.LookupOptions, found: (...answer: unknown[]) => void) =>
      all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4);
    vi.spyOn(dns, 'lookup').mockImplementation(lookup as never);
  });

  afterEach(() => vi.unstubAllEnvs());

  afterAll(async () => {
    vi.restoreAllMocks();
    setDefaultCACertificates(trusted);
    server.close();
    await test.close();
    await rm(directory, { recursive: true });
  });

  const open = (address = url, options?: Parameters<typeof tcp>[0]) =>
    createDatabase({
      url: address,
      schema: {},
      transports: { tcp: tcp(options) },
      sockets: 'instance',
      retry: { attempts: 1 },
    });

  it.each(['1', '0'])(
    'a certificate that nobody vouches for is refused, with NODE_TLS_REJECT_UNAUTHORIZED=%s',
    async (value) => {
      vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', value);
      const database = open();
      const error = await failure(database.execute(sql`select 1`));
      expect(error).toMatchObject({ kind: 'connection', message: expect.stringContaining('self-signed certificate') });
      await database.close();
    },
  );

  it('it is not asked for with `tls: false`', async () => {
    const plain = new URL(url);
    plain.port = String(inject('stack').postgresPort);
    const database = open(plain.href, { tls: false });
    expect((await database.execute(sql`select 1 as one`)).rows).toEqual([{ one: 1 }]);
    await database.close();
  });

  it('one of another name is, too', async () => {
    setDefaultCACertificates([...trusted, certificate]);
    const database = open(url.replace('database.example', 'another.example'));
    const error = await failure(database.execute(sql`select 1`));
    expect(error).toMatchObject({ kind: 'connection', message: expect.stringContaining('does not match') });
    await database.close();
  });

  it('statements are run, and one that is given up is stopped: the request to cancel goes the same way', async () => {
    setDefaultCACertificates([...trusted, certificate]);
    const database = open();
    expect((await database.execute(sql`select 1 as one`)).rows).toEqual([{ one: 1 }]);
    const controller = new AbortController();
    const work = failure(database.forRequest({ signal: controller.signal }).execute(sql`select pg_sleep(60)`));
    await test.untilSleeping();
    controller.abort();
    expect((await work).kind).toBe('timeout');
    await test.untilSleeping(0);
    await database.close();
  });
});
