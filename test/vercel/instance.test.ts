import { setImmediate as turn } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import type VercelApp from '../../functions/vercel.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { EXAMPLE } from '../example-contract.ts';
import { apiToken } from '../token.ts';

const REQUEST_CONTEXT = Symbol.for('@vercel/request-context');

describe('an instance on Vercel', () => {
  let gateway: Gateway;
  let database: TestDatabase;
  let app: typeof VercelApp;

  beforeAll(async () => {
    const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
    gateway = await startGateway({ upstream, port: 0 });
    database = await createTestDatabase(gateway.port);
    const environment = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: database.url, API_TOKEN: apiToken };
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    ({ default: app } = await import('../../functions/vercel.ts'));
    app.get('/held', async (c) => {
      await c.var.db.transaction((tx) =>
        tx.execute(sql`select pg_advisory_xact_lock_shared(hashtextextended('held', 0))`),
      );
      return c.body(null, 204);
    });
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await gateway.close();
    await database.close();
  });

  const ask = async (path = '/held') => {
    const headers = { Authorization: `Bearer ${apiToken}` };
    return (await app.fetch(new Request(`https://api.example${path}`, { headers }))).status;
  };

  /** As on Vercel, with a clock that stands still. @returns what keeps the instance awake */
  const onVercel = () => {
    const awake = new Set<Promise<unknown>>();
    const waitUntil = (promise: Promise<unknown>) => {
      awake.add(promise);
      void promise.finally(() => awake.delete(promise));
    };
    Object.assign(globalThis, { [REQUEST_CONTEXT]: { get: () => ({ waitUntil }) } });
    vi.stubEnv('VERCEL_URL', 'app.vercel.app');
    vi.stubEnv('VERCEL_REGION', 'iad1');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
      vi.stubEnv('VERCEL_URL', undefined);
      Reflect.deleteProperty(globalThis, REQUEST_CONTEXT);
    });
    return awake;
  };

  it('stays awake until the sockets that it keeps for the next request are closed', async () => {
    const awake = onVercel();
    expect(await ask(EXAMPLE.path)).toBe(200);
    expect(awake.size).toBe(0); // over HTTP there is nothing to close
    expect(await ask()).toBe(204);
    expect(awake.size).toBe(1);
    await vi.advanceTimersByTimeAsync(59_000);
    expect(gateway.stats().openSockets).toBe(1);
    await vi.advanceTimersByTimeAsync(1_000);
    while (gateway.stats().openSockets > 0) await turn();
    expect(awake.size).toBe(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(awake.size).toBe(0);
  });

  it('stays awake for connections over TCP, too', async () => {
    const { postgresPort } = inject('stack');
    vi.stubEnv('DATABASE_URL', database.url.replace(`:${gateway.port}/`, `:${postgresPort}/`));
    vi.stubEnv('DATABASE_TRANSPORT', 'tcp');
    const anew = '../../functions/vercel.ts?tcp'; // with these variables
    const { default: overTcp } = (await import(anew)) as { default: typeof VercelApp };
    const awake = onVercel();
    const headers = { Authorization: `Bearer ${apiToken}` };
    expect((await overTcp.fetch(new Request(`https://api.example${EXAMPLE.path}`, { headers }))).status).toBe(200);
    expect(awake.size).toBe(1);
    await vi.advanceTimersByTimeAsync(62_000);
    expect(awake.size).toBe(0);
  });

  it('shares ten sockets among all requests that it serves at once', async () => {
    const before = gateway.stats().sockets;
    const { statuses } = await database.whileLocked('held', async () => {
      const statuses = Promise.all(Array.from({ length: 40 }, () => ask()));
      await database.untilWaiting(10);
      return { statuses };
    });
    expect(new Set(await statuses)).toEqual(new Set([204]));
    expect(gateway.stats().sockets - before).toBe(10);
  });
});
