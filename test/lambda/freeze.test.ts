import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts';
import { functionUrl } from './events.ts';
import { type LambdaFunction, startFunction } from './start-function.ts';
import { apiToken } from '../token.ts';

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
    const headers = {
      Authorization: `Bearer ${apiToken}`,
      'Content-Type': 'application/json',
      'Idempotency-Key': randomUUID(),
    };
    const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
    const event = await functionUrl.toEvent(new Request(new URL(route, 'https://api.example'), init));
    return functionUrl.toResponse(await lambda.invoke(event));
  };

  const openAccount = (kind: string) => call('POST', '/accounts', { name: kind, currency: 'EUR', kind });

  it('answers its next request, though its connections were cut meanwhile', async () => {
    const ids = ['external', 'ordinary'].map(
      async (kind) => (await openAccount(kind)).json() as Promise<{ id: string }>,
    );
    const [bank, ada] = await Promise.all(ids);
    const transfer = { fromAccountId: bank?.id, toAccountId: ada?.id, amount: 1, currency: 'EUR' };
    const requests = [
      () => call('GET', '/health/ready'),
      () => call('GET', '/accounts'),
      () => openAccount('ordinary'),
      () => call('POST', '/transfers', transfer),
      () => call('POST', '/reconciliations'),
    ];
    for (const request of requests) {
      expect((await request()).status).toBeLessThan(300); // its connections are open now
      const connections = proxy.connections();
      process.kill(lambda.pid, 'SIGSTOP');
      const answer = request();
      proxy.reset();
      process.kill(lambda.pid, 'SIGCONT');
      expect((await answer).status, lambda.log()).toBeLessThan(300);
      expect(proxy.connections()).toBeGreaterThan(connections);
    }
  });
});
