import { hc } from 'hono/client';
import { expect, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import type { App } from '../../src/create-app.ts';
import { createTestDatabase } from '../database.ts';
import { startApp } from './start-app.ts';
import { apiToken } from '../token.ts';

it('the type of the app types a client', async () => {
  const database = await createTestDatabase();
  const app = await startApp({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: database.url, API_TOKEN: apiToken });
  try {
    const api = hc<App>('http://localhost', {
      headers: { Authorization: `Bearer ${apiToken}` },
      fetch: (...request: Parameters<typeof fetch>) => app.fetch(...(request as [string, RequestInit])),
    });
    const created = await api.accounts.$post({ json: { name: 'Ada', currency: 'EUR' } });
    expect(created.status).toBe(201);
    // @ts-expect-error a route validates its query
    await api.accounts.$get({ query: { limits: '10' } });
    const response = await api.accounts.$get({ query: { limit: '10' } });
    const { items } = await response.json();
    const names: string[] = items.map(({ name }) => name);
    expect(names).toEqual(['Ada']);
  } finally {
    await app.close();
    await database.close();
  }
});
