import { readdirSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { describeContract } from '../contract.ts';
import { startServer } from '../node/start-server.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SERVE = path.join(ROOT, 'scripts/serve-vercel.ts');

const functions = path.join(inject('vercelOutput'), 'functions');
const folder = path.join(functions, 'index.func');
const config = JSON.parse(readFileSync(path.join(folder, '.vc-config.json'), 'utf8')) as Record<string, unknown>;

describeContract('Vercel', (options) =>
  startServer(options, [SERVE, path.join(folder, String(config['handler']))], folder),
);

describe('what Vercel would deploy', () => {
  it.each(['deploy.yml', 'preview.yml'])('is built in %s by the version that builds it here', (file) => {
    const { dependencies } = JSON.parse(readFileSync(path.join(ROOT, 'test/platforms/package.json'), 'utf8')) as {
      dependencies: { vercel: string };
    };
    const workflow = readFileSync(path.join(ROOT, '.github/workflows', file), 'utf8');
    const versions = new Set(Array.from(workflow.matchAll(/\bvercel@(\d+)/g), ([, version]) => version));
    expect([...versions]).toEqual([dependencies.vercel.split('.')[0]]);
  });

  it('is one function of the entry, for the Node that the tests run on', () => {
    expect(readdirSync(functions)).toEqual(['index.func']);
    expect(config).toMatchObject({
      handler: 'functions/vercel.js',
      launcherType: 'Nodejs',
      runtime: `nodejs${process.versions.node.split('.')[0]}.x`,
      maxDuration: 90,
    });
  });

  it('leaves other platforms, tests and tools behind', () => {
    expect(readdirSync(path.join(folder, 'functions'))).toEqual(['vercel.js', 'vercel.js.map']);
    expect(readdirSync(folder).toSorted()).toEqual([
      '.vc-config.json',
      'functions',
      'node_modules',
      'package.json',
      'src',
    ]);
  });
});

describe('the file that Vercel takes for the app', () => {
  interface Builder {
    entrypointCallback: (build: { files: object; workPath: string; config: object }) => Promise<string>;
  }
  const require = createRequire(import.meta.url);
  const { entrypointCallback } = createRequire(require.resolve('vercel/package.json'))('@vercel/hono') as Builder;
  const find = (workPath: string) => {
    const files = { 'package.json': { type: 'FileFsRef', fsPath: path.join(workPath, 'package.json') } };
    return entrypointCallback({ files, workPath, config: {} });
  };

  let copy: string;
  beforeAll(async () => {
    copy = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-entry-'));
    for (const part of ['package.json', 'functions', 'src'])
      await cp(path.join(ROOT, part), path.join(copy, part), { recursive: true });
  });
  afterAll(() => rm(copy, { recursive: true }));

  it('is the entry', async () => {
    expect(await find(ROOT)).toBe('functions/vercel.ts');
  });

  it.each(['app', 'index', 'server'].flatMap((name) => [`${name}.ts`, `src/${name}.ts`]))(
    'would be %s if there were one',
    async (file) => {
      await writeFile(path.join(copy, file), `import { Hono } from 'hono';`);
      expect(await find(copy)).toBe(file);
      await rm(path.join(copy, file));
    },
  );
});
