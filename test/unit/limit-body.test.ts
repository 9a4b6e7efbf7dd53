import { Hono } from 'hono';
import { expect, it } from 'vitest';
import type { AppEnv } from '../../src/create-app.ts';
import { limitBody } from '../../src/middleware/limit-body.ts';

it('takes nothing that the rest of the app throws for a body that breaks off', async () => {
  const app = new Hono<AppEnv>().use(limitBody(10)).post('/', () => {
    // oxlint-disable-next-line typescript/only-throw-error -- which is what Hono passes on
    throw 'no Error';
  });
  await expect(async () => app.request('/', { method: 'POST', body: '{}' })).rejects.toBe('no Error');
});
