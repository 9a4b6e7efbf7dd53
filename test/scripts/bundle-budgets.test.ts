import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Bundle, buildBundles, bundleTable, unusedModules } from '../../scripts/bundle-budgets.ts';

let directory: string;
let bundles: Bundle[];
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'bundles-test-'));
  bundles = await buildBundles(directory);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

it('keeps what is deployed within its size', () => {
  expect(bundleTable(bundles.map(({ size }) => size))).toMatch(/Worker: size .*\nLambda: size /);
});

it('keeps out of each bundle what its platform does not use', () => {
  for (const { platform, outputs } of bundles) expect(unusedModules(platform, outputs), platform).toEqual([]);
});

it('finds what does not belong into a bundle', async () => {
  const { metafile } = await build({
    absWorkingDir: fileURLToPath(new URL('../../', import.meta.url)),
    stdin: { contents: `export * from './src/db/tcp.ts'; export * from 'ws';`, resolveDir: '.' },
    bundle: true,
    write: false,
    platform: 'node',
    external: ['pg-native'],
    metafile: true,
  });
  expect(unusedModules('worker', metafile.outputs)).toContain('src/db/tcp.ts');
  expect(unusedModules('worker', metafile.outputs)).toContain('node_modules/pg/lib/client.js');
  const inLambda = unusedModules('lambda', metafile.outputs);
  expect(inLambda).toContain('node_modules/ws/lib/websocket.js');
  expect(inLambda.filter((name) => !name.startsWith('node_modules/ws/'))).toEqual([]);
});

it('fails with the table when a budget is exceeded', () => {
  const measurement = { what: 'Worker: size', measured: 110.04, budget: 110, unit: 'kB gzip' } as const;
  expect(() => bundleTable([measurement])).toThrow(/110\.0 of 110 kB gzip {2}over its budget/);
});
