import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { bundleVercel } from '../../scripts/bundle-vercel.ts';
import { vercelBundle } from '../../scripts/bundles/vercel.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

describeBundle(vercelBundle, [
  'node_modules/ws/wrapper.mjs',
  'node_modules/hono/dist/adapter/aws-lambda/index.js',
  'node_modules/pg-cloudflare/dist/index.js',
  'local/create-once.ts',
]);

/** In a directory below that of the packages. */
async function bundle(external?: string[]): Promise<string> {
  const dist = fileURLToPath(new URL('../../dist', import.meta.url));
  await mkdir(dist, { recursive: true });
  const directory = await mkdtemp(path.join(dist, 'bundle-test-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  await bundleVercel(directory, external);
  return directory;
}

const start = (directory: string, env = {}) =>
  promisify(execFile)(process.execPath, [path.join(directory, 'index.mjs')], { env });

it('names the files and lines of the source in its errors', async () => {
  const directory = await bundle();
  await expect(start(directory)).rejects.toMatchObject({
    stderr: expect.stringMatching(/at parseConfig .*src\/config\.ts:\d+:\d+/),
  });
});

it('starts with a package that is not bundled', async () => {
  const directory = await bundle(['@neondatabase/serverless']);
  await start(directory, EXAMPLE_ENVIRONMENT);
});
