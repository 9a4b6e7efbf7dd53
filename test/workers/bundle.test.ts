import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { workerBundle } from '../../scripts/bundles/worker.ts';
import { packageFolder } from '../../scripts/package-folder.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

describeBundle(workerBundle, [
  'src/db/tcp.ts',
  'node_modules/pg/lib/index.js',
  'node_modules/hono/dist/adapter/aws-lambda/index.js',
  'local/create-once.ts',
]);

it('is built and searched in a monorepo, too, whose packages are in a folder above', async () => {
  const monorepo = await mkdtemp(path.join(tmpdir(), 'bundle-test-'));
  onTestFinished(() => rm(monorepo, { recursive: true, force: true }));
  await symlink(path.dirname(packageFolder('wrangler')), path.join(monorepo, 'node_modules'), 'junction');
  const project = path.join(monorepo, 'apps/api');
  for (const name of ['functions', 'scripts', 'src', 'package.json', 'tsconfig.json', 'wrangler.toml']) {
    await cp(path.join(ROOT, name), path.join(project, name), { recursive: true });
  }
  const program = `
    import { unusedModules } from './scripts/bundles/bundle.ts';
    import { workerBundle } from './scripts/bundles/worker.ts';
    const { outputs } = await workerBundle('dist');
    console.log(unusedModules({ outputs, unused: [/^node_modules\\/hono\\//] }).join(' '));`;
  const args = ['--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: project });
  expect(stdout.split(' ')).toContain('node_modules/hono/dist/hono-base.js');
});

it('is not reachable any more when it was replaced: it would still know the token of its time', () => {
  expect(readFileSync('wrangler.toml', 'utf8')).toMatch(/^preview_urls = false$/m);
});
