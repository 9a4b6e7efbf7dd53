import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import type VercelApp from '../../functions/vercel.ts';
import { createTestDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { apiToken } from '../token.ts';

const REQUEST_CONTEXT = Symbol.for('@vercel/request-context');

describe('an instance on Vercel', () => {
  let gateway: Gateway;
  let database: TestDatabase;
  let app: typeof VercelApp;
  const accounts: string[] = [];

  beforeAll(async () => {
    const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
    gateway = await startGateway({ upstream, port: 0 });
    database = await createTestDatabase(gateway.port);
    const environment = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: database.url, API_TOKEN: apiToken };
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    ({ default: app } = await import('../../functions/vercel.ts'));
    for (const name of ['from', 'to']) {
      const response = await post('/accounts', { name, currency: 'EUR', kind: 'external' });
      accounts.push(((await response.json()) as { id: string }).id);
    }
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await gateway.close();
    await database.close();
  });

  const post = async (route: string, body: object) => {
    const headers = {
      Authorization: `Bearer ${apiToken}`,
      'Content-Type': 'application/json',
      'Idempotency-Key': randomUUID(),
    };
    const init = { method: 'POST', body: JSON.stringify(body), headers };
    return app.fetch(new Request(new URL(route, 'https://api.example'), init));
  };

  const transfer = async () => {
    const [fromAccountId, toAccountId] = accounts;
    return (await post('/transfers', { fromAccountId, toAccountId, amount: 1, currency: 'EUR' })).status;
  };

  it('stays awake until the sockets that it keeps for the next request are closed', async () => {
    const awake = new Set<Promise<unknown>>();
    const waitUntil = (promise: Promise<unknown>) => {
      awake.add(promise);
      void promise.finally(() => awake.delete(promise));
    };
    Object.assign(globalThis, { [REQUEST_CONTEXT]: { get: () => ({ waitUntil }) } });
    vi.stubEnv('VERCEL_URL', 'app.vercel.app');
    vi.stubEnv('VERCEL_REGION', 'iad1');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      expect(await transfer()).toBe(201);
      expect(awake.size).toBe(1);
      await vi.advanceTimersByTimeAsync(59_000);
      expect(gateway.stats().openSockets).toBe(1);
      await vi.advanceTimersByTimeAsync(1_000);
      while (gateway.stats().openSockets > 0) await turn();
      expect(awake.size).toBe(1);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(awake.size).toBe(0);
    } finally {
      vi.useRealTimers();
      vi.stubEnv('VERCEL_URL', undefined);
      Reflect.deleteProperty(globalThis, REQUEST_CONTEXT);
    }
  });

  it('shares ten sockets among all requests that it serves at once', async () => {
    const superuser = new URL(inject('stack').superuser);
    superuser.pathname = new URL(database.url).pathname;
    const other = new pg.Client(superuser.href);
    await other.connect();
    await other.query('begin; lock table accounts');
    const before = gateway.stats().sockets;
    const statuses = Promise.all(Array.from({ length: 40 }, transfer));
    const waiting = () =>
      database.query(
        `select from pg_stat_activity where datname = current_database() and usename = 'app' and wait_event_type = 'Lock'`,
      );
    await vi.waitFor(async () => expect(await waiting()).toHaveLength(10), PATIENCE);
    await other.query('commit');
    await other.end();
    expect(new Set(await statuses)).toEqual(new Set([201]));
    expect(gateway.stats().sockets - before).toBe(10);
  });
});
