import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Target } from '../contract.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { startWorker } from './start-worker.ts';
import { apiToken } from '../token.ts';

const LIMIT = 3;

let database: TestDatabase;
let api: Target;

beforeAll(async () => {
  database = await createTestDatabase();
  const simple = { limit: LIMIT, period: 60 } as const;
  api = await startWorker({ databaseUrl: database.url, apiToken }, undefined, {
    ratelimits: { RATE_LIMITER: { namespace_id: '1', simple } },
  });
});
afterAll(async () => {
  await api.close();
  await database.close();
});

it('refuses who sends too many requests, and says when to try again', async () => {
  const get = (address: string, path = '/accounts') => api.fetch(path, { headers: { 'CF-Connecting-IP': address } });
  const responses: Response[] = [];
  // A period may end meanwhile, but not two.
  while (responses.length <= 2 * LIMIT && responses.at(-1)?.status !== 429) responses.push(await get('192.0.2.1'));
  expect(responses.length).toBeGreaterThan(LIMIT);
  const refused = responses.at(-1);
  expect(refused?.status).toBe(429);
  expect(refused?.headers.get('Content-Type')).toBe('application/problem+json');
  expect(refused?.headers.get('Retry-After')).toBe('60');
  expect(await refused?.json()).toMatchObject({ type: 'urn:problem:too-many-requests', status: 429 });
  expect((await get('192.0.2.2')).status).toBe(401);
  expect((await get('192.0.2.1', '/health/live')).status).toBe(200);
});
