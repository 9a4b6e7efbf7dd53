import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { describe, expect, it } from 'vitest';
import { describeContract } from '../contract.ts';
import { startWorker, workerOptions } from './start-worker.ts';

describeContract('Workers', startWorker);

describe('a Worker with an incomplete environment', () => {
  it('does not start, and lists every problem without showing a value', async () => {
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        ...workerOptions(),
        bindings: { DATABASE_URL: 'postgresql://app:hunter2@host:port/app' },
      }),
    );
    const error = await miniflare.ready.then(
      () => 'it started',
      (reason: Error) => reason.message,
    );
    await miniflare.dispose().catch(() => {}); // it never started
    expect(error).toMatch(/DATABASE_URL: [\s\S]*API_TOKEN is not set/);
    expect(error).not.toContain('hunter2');
  });
});
