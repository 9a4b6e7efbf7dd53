import { sql } from 'drizzle-orm';
import { afterEach, expect, it, vi } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';
import { serverTransports } from '../../src/server-transports.ts';
import { createEmptyDatabase } from '../database.ts';
import { apiToken } from '../token.ts';

afterEach(() => vi.restoreAllMocks());

it('the log of a request tells what failed at the database although another try, or the primary, has answered', async () => {
  await using cleanup = new AsyncDisposableStack();
  const primary = await createEmptyDatabase();
  cleanup.defer(() => primary.close());
  const gone = 'postgresql://app:nobody@127.0.0.1:1/app';
  const config = parseConfig({
    ...EXAMPLE_ENVIRONMENT,
    DATABASE_URL: primary.url,
    DATABASE_REPLICA_URL: gone,
    API_TOKEN: apiToken,
  });
  const { app, database } = createApp(config, {
    transports: await serverTransports(config.transport),
    sockets: 'instance',
  });
  cleanup.defer(() => database.close());
  app.get('/own', async (c) => c.json(await c.var.db.replica.select({ one: sql`1` }).from(sql`(select) as nothing`)));

  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const ask = () => app.request('/own', { headers: { Authorization: `Bearer ${apiToken}` } });
  const statuses = [(await ask()).status, (await ask()).status];
  expect(statuses).toEqual([200, 200]);
  expect(log.mock.calls.map(([line]) => JSON.parse(String(line)) as object)).toEqual([
    {
      level: 'info',
      requestId: expect.any(String) as string,
      method: 'GET',
      path: '/own',
      status: 200,
      ms: expect.any(Number) as number,
      transports: ['http'],
      roundTrips: 2,
      failures: ['connection'],
    },
    expect.not.objectContaining({ failures: expect.anything() as unknown }), // the replica is left alone for a while
  ]);
});
