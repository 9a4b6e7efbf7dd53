import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { bundleVercel } from '../../scripts/bundle-vercel.ts';
import { vercelBundle } from '../../scripts/bundles/vercel.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

describeBundle(vercelBundle, [
  'node_modules/ws/wrapper.mjs',
  'node_modules/hono/dist/adapter/aws-lambda/index.js',
  'node_modules/pg-cloudflare/dist/index.js',
  'local/create-once.ts',
]);

it('names the files and lines of the source in its errors', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'bundle-test-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  await bundleVercel(directory);
  const start = promisify(execFile)(process.execPath, [path.join(directory, 'index.mjs')], { env: {} });
  await expect(start).rejects.toMatchObject({
    stderr: expect.stringMatching(/at parseConfig .*src\/config\.ts:\d+:\d+/),
  });
});
