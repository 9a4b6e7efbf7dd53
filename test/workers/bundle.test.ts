import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { workerBundle } from '../../scripts/bundles/worker.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

describeBundle(workerBundle, [
  'src/db/tcp.ts',
  'node_modules/pg/lib/index.js',
  'node_modules/hono/dist/adapter/aws-lambda/index.js',
  'local/create-once.ts',
]);

it('is not reachable any more when it was replaced: it would still know the token of its time', () => {
  expect(readFileSync('wrangler.toml', 'utf8')).toMatch(/^preview_urls = false$/m);
});
