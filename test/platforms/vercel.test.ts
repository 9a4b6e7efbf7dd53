import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
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
      handler: 'dist/vercel/index.mjs',
      launcherType: 'Nodejs',
      runtime: `nodejs${process.versions.node.split('.')[0]}.x`,
      maxDuration: 90,
    });
  });

  it('is the bundle alone, and no file of it is public', () => {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    const names = files.map(({ parentPath, name }) => path.relative(folder, path.join(parentPath, name)));
    const bundle = path.join('dist', 'vercel');
    expect(names).toEqual(expect.arrayContaining(['index.mjs', 'vercel.mjs'].map((name) => path.join(bundle, name))));
    const others = names.filter((name) => path.dirname(name) !== bundle || path.extname(name) !== '.mjs');
    expect(others).toEqual(['.vc-config.json']);
    expect(existsSync(path.join(inject('vercelOutput'), 'static'))).toBe(false);
  });

  it('takes no other file for the app, whatever its name', async () => {
    const require = createRequire(import.meta.url);
    const { entrypointCallback } = createRequire(require.resolve('vercel/package.json'))('@vercel/hono') as {
      entrypointCallback: (build: { files: object; workPath: string; config: object }) => Promise<string>;
    };
    const workPath = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-entry-'));
    onTestFinished(() => rm(workPath, { recursive: true }));
    await cp(path.join(folder, 'dist'), path.join(workPath, 'dist'), { recursive: true });
    await mkdir(path.join(workPath, 'src'));
    for (const name of ['app', 'index', 'server'].flatMap((file) => [`${file}.ts`, `src/${file}.ts`])) {
      await writeFile(path.join(workPath, name), `import { Hono } from 'hono';`);
    }
    const { outputDirectory } = JSON.parse(readFileSync(path.join(ROOT, 'vercel.json'), 'utf8')) as object & {
      outputDirectory: string;
    };
    const find = (projectSettings: object) => entrypointCallback({ files: {}, workPath, config: { projectSettings } });
    expect(await find({ outputDirectory })).toBe(config['handler']);
    expect(await find({})).toBe('app.ts');
  });
});
