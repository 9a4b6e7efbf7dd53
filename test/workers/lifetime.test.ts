import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { anyFreePort } from '../../local/ports.ts';
import { startListening } from '../../local/start-listening.ts';
import { createTestDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import type { Target } from '../contract.ts';
import { bundleWorker, startWorker } from './start-worker.ts';
import { apiToken } from '../token.ts';

const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };

/** A gateway of this file's own, to count what reaches it. */
let gateway: Gateway;
let database: TestDatabase;

beforeAll(async () => {
  gateway = await startGateway({ upstream, port: await anyFreePort() }); // for it to have again
  database = await createTestDatabase(gateway.port);
});

afterAll(async () => {
  await gateway.close();
  await database.close();
});

/** Sockets close after the response, not before. */
async function untilClosed(): Promise<void> {
  await vi.waitFor(() => expect(gateway.stats().openSockets).toBe(0), PATIENCE);
}

describe('the deployed bundle', () => {
  let api: Target;
  beforeAll(async () => {
    api = await startWorker({ databaseUrl: database.url, apiToken });
  });
  afterAll(() => api.close());

  it('says that it is not ready where nothing answers, while a load balancer still waits', async () => {
    await gateway.simulate({ stall: true });
    const response = await api.fetch('/health/ready', { signal: AbortSignal.timeout(9_000) });
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, expect.stringMatching(/^[2-5]$/)]);
    await gateway.simulate({ stall: false });
  });

  it('leaves no connection behind', async () => {
    const before = gateway.stats().sockets;
    await api.fetch('/health/ready');
    expect(gateway.stats().sockets).toBeGreaterThan(before);
    await untilClosed();
    // What remains now is the gateway's own pool for HTTP requests, and ends with it.
    const { port } = gateway;
    await gateway.close();
    const left = () =>
      database.query(`select pid from pg_stat_activity where usename = 'app' and datname = current_database()`);
    await vi.waitFor(async () => expect(await left()).toEqual([]), PATIENCE);
    gateway = await startGateway({ upstream, port });
  });
});

/** Runs one of this folder's own Workers. */
async function startOwn(name: string, databaseUrl = database.url): Promise<Target> {
  const entryPoint = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  return startWorker({ databaseUrl, apiToken }, await bundleWorker(name, entryPoint));
}

describe('one request', () => {
  it('shares a socket among its transactions and closes it after a streamed body', async () => {
    const worker = await startOwn('two-transactions');
    try {
      for (const route of ['/', '/streamed']) {
        const before = gateway.stats().sockets;
        const lines = (await (await worker.fetch(route)).text()).trim().split('\n');
        expect(lines).toHaveLength(2);
        if (route === '/') {
          expect(lines[0]).toBe(lines[1]);
          expect(gateway.stats().sockets).toBeGreaterThan(before);
        }
        await untilClosed();
      }
    } finally {
      await worker.close();
    }
  });

  it('ends what its route has not waited for, when it is answered', async () => {
    const worker = await startOwn('unawaited');
    try {
      await database.whileLocked('unawaited', async () => {
        const response = await worker.fetch('/unawaited', { headers: { Authorization: `Bearer ${apiToken}` } });
        expect(await response.text()).toBe('done');
        await database.untilWaiting();
      });
      await untilClosed();
    } finally {
      await worker.close();
    }
  });

  it('opens four sockets at most: a Worker may have six connections, and HTTP needs some', async () => {
    const worker = await startOwn('two-transactions');
    try {
      const before = gateway.stats().sockets;
      const lines = (await (await worker.fetch('/at-once')).text()).trim().split('\n');
      expect([lines.length, new Set(lines).size, gateway.stats().sockets - before]).toEqual([8, 4, 4]);
      await untilClosed();
    } finally {
      await worker.close();
    }
  });

  it('meets no socket of another, even by way of the database of no request', async () => {
    const worker = await startOwn('two-transactions');
    try {
      for (let i = 0; i < 3; i++) {
        const lines = (await (await worker.fetch('/of-no-request')).text()).trim().split('\n');
        expect(new Set(lines).size).toBe(2);
        await untilClosed();
      }
    } finally {
      await worker.close();
    }
  });

  it('that ends while it asks for the URL leaves no other waiting', async () => {
    const store = createServer((_, response) => response.end(database.url));
    const worker = await startOwn('asked-url', `http://127.0.0.1:${await startListening(store)}`);
    try {
      expect(await (await worker.fetch('/unawaited')).text()).toBe('done');
      expect(await (await worker.fetch('/')).json()).toEqual([{ one: 1 }]);
    } finally {
      await worker.close();
      store.close();
    }
  });

  it('leaves no socket open whose handshake is answered just as it is given up', async () => {
    const sockets = new WebSocketServer({ noServer: true });
    const opened = vi.fn<() => void>();
    const server = createServer().on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      setTimeout(() => sockets.handleUpgrade(request, socket, head, opened), 100);
    });
    const worker = await startOwn(
      'late-sockets',
      `postgresql://app:secret@127.0.0.1:${await startListening(server)}/app`,
    );
    try {
      for (let n = 0; n < 2; n++) expect((await worker.fetch('/')).status).toBe(200);
      expect(opened).toHaveBeenCalled();
      await vi.waitFor(() => expect(sockets.clients.size).toBe(0), PATIENCE);
    } finally {
      await worker.close();
      server.close();
    }
  });
});
