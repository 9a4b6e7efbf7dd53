import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createRequire } from 'node:module';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { describe, expect, inject, it } from 'vitest';
import { describeContract } from '../contract.ts';
import { EXAMPLE } from '../example-contract.ts';
import { startWorker, workerOptions } from './start-worker.ts';
import { apiToken } from '../token.ts';

describeContract('Workers', startWorker);

it.each(['GET', 'HEAD'])('Workers take no notice of the body of a %s', async (method) => {
  const api = await startWorker({ databaseUrl: inject('stack').app, apiToken });
  const headers = { Authorization: `Bearer ${apiToken}`, 'Transfer-Encoding': 'chunked' };
  const [response] = (await once(
    request(new URL(EXAMPLE.path, api.url), { method, headers }).end('{}'),
    'response',
  )) as [IncomingMessage];
  response.resume();
  expect(response.statusCode).toBe(200);
  await api.close();
});

it('runs here in the workerd that wrangler brings: package.json names the miniflare that wrangler needs', () => {
  const { resolve } = createRequire(import.meta.url);
  expect(createRequire(resolve('wrangler')).resolve('miniflare')).toBe(resolve('miniflare'));
});

describe('a Worker with an incomplete environment', () => {
  it('does not start, and lists every problem without showing a value', async () => {
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        ...workerOptions(),
        bindings: { DATABASE_URL: 'postgresql://app:hunter2@host:port/app', DATABASE_REPLICA_URL: 'hunter2' },
      }),
    );
    const error = await miniflare.ready.then(
      () => 'it started',
      (reason: Error) => reason.message,
    );
    await miniflare.dispose().catch(() => {}); // it never started
    expect(error).toMatch(/DATABASE_URL: [\s\S]*DATABASE_REPLICA_URL: /);
    expect(error).not.toContain('hunter2');
  });
});
