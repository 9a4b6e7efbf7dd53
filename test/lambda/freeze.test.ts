import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { EXAMPLE } from '../example-contract.ts';
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts';
import { functionUrl } from './events.ts';
import { type LambdaFunction, startFunction } from './start-function.ts';
import { apiToken } from '../token.ts';

/** Reads and writes over each way to the database: /health/ready has a transaction, too. */
const REQUESTS: [method: string, route: string, body?: object][] = [
  ['GET', '/health/ready'],
  ['GET', EXAMPLE.path],
  ['POST', EXAMPLE.path, EXAMPLE.body],
  ['POST', '/reconciliations'],
];

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

describe.skipIf(process.platform === 'win32').each(['neon', 'tcp'])('a frozen function over %s', (transport) => {
  const { gatewayPort, postgresPort } = inject('stack');
  let proxy: FaultProxy;
  let lambda: LambdaFunction;

  beforeAll(async () => {
    proxy = await startFaultProxy({ port: transport === 'tcp' ? postgresPort : gatewayPort });
    const url = new URL(database.url);
    url.port = String(proxy.port);
    lambda = await startFunction({
      handler: 'lambda.handler',
      environment: {
        ...EXAMPLE_ENVIRONMENT,
        DATABASE_URL: url.href,
        DATABASE_TRANSPORT: transport,
        API_TOKEN: apiToken,
      },
    });
  });
  afterAll(async () => {
    await lambda.close();
    await proxy.close();
  });

  const call = async (method: string, route: string, body?: object) => {
    const headers = { Authorization: `Bearer ${apiToken}`, 'Content-Type': 'application/json' };
    const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
    const event = await functionUrl.toEvent(new Request(new URL(route, 'https://api.example'), init));
    return functionUrl.toResponse(await lambda.invoke(event));
  };

  it('keeps its connections for the requests that follow', async () => {
    const connections = proxy.connections();
    for (let i = 0; i < 10; i++) expect((await call('GET', '/health/ready')).status).toBe(200);
    expect(proxy.connections() - connections).toBeLessThan(10);
  });

  it.each(['before', 'after'])('answers its next request, though its connections were cut %s it came', async (when) => {
    for (const request of REQUESTS) {
      expect((await call(...request)).status).toBeLessThan(300); // its connections are open now
      const connections = proxy.connections();
      await sleep(100); // then it waits for the next event
      process.kill(lambda.pid, 'SIGSTOP');
      const answer = call(...request);
      if (when === 'after') await sleep(100);
      proxy.reset();
      await sleep(100);
      process.kill(lambda.pid, 'SIGCONT');
      expect((await answer).status, lambda.log()).toBeLessThan(300);
      expect(proxy.connections()).toBeGreaterThan(connections);
    }
  });
});
