import { afterEach, expect, it, vi } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';
import { serverTransports } from '../../src/server-transports.ts';
import { createEmptyDatabase, PATIENCE } from '../database.ts';
import { startFaultProxy } from '../fault-proxy.ts';
import { startApp } from './start-app.ts';

afterEach(() => vi.restoreAllMocks());

it.each([
  ['instance', 'share one check', 1],
  ['request', 'make their own', 3],
] as const)('with sockets of one %s, health checks that come at once %s', async (sockets, _, checks) => {
  vi.spyOn(console, 'log').mockImplementation(() => {});
  await using cleanup = new AsyncDisposableStack();
  const primary = await createEmptyDatabase();
  cleanup.defer(() => primary.close());
  const config = parseConfig({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: primary.url });
  let oneShots = 0;
  const { app, database } = createApp(config, {
    transports: await serverTransports(config.transport),
    sockets,
    onQuery: ({ transport }) => void (transport === 'http' && oneShots++),
  });
  cleanup.defer(() => database.close());
  const ask = async () => (await app.request('/health/ready')).json();
  const ready = { status: 'ready', transports: ['http', 'websocket'] };
  // The first on a busy machine may take longer than a check may.
  await vi.waitFor(async () => expect(await ask()).toEqual(ready), PATIENCE);
  oneShots = 0;

  expect(await Promise.all([ask(), ask(), ask()])).toEqual([ready, ready, ready]);
  expect(oneShots).toBe(checks);
  expect(await ask()).toEqual(ready);
  expect(oneShots).toBe(checks + 1);
});

it('a shared check that has failed is not asked for again', async () => {
  for (const level of ['log', 'error'] as const) vi.spyOn(console, level).mockImplementation(() => {});
  await using cleanup = new AsyncDisposableStack();
  const primary = await createEmptyDatabase();
  cleanup.defer(() => primary.close());
  const url = new URL(primary.url);
  const proxy = await startFaultProxy({ port: Number(url.port) });
  cleanup.defer(() => proxy.close());
  url.port = String(proxy.port);
  const app = await startApp({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: url.href });
  cleanup.defer(() => app.close());
  const ask = async () => (await app.fetch('/health/ready')).status;

  proxy.stall(true);
  expect(await Promise.all([ask(), ask()])).toEqual([503, 503]);
  proxy.stall(false);
  expect(await ask()).toBe(200);
});
