import { execFile } from 'node:child_process';
import { copyFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { Metafile } from 'esbuild';
import { packageFolder } from '../package-folder.ts';
import { type Bundle, NEVER } from './bundle.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export const UNUSED_BY_WORKERS = [
  ...NEVER,
  /^node_modules\/(pg|pg-[^/]+|aws4fetch)\//,
  /^node_modules\/hono\/dist\/adapter\//,
  /^node_modules\/(unenv|@cloudflare\/unenv-preset)\//, // Node's modules, for workerd
  /^src\/db\/tcp\.ts$/,
];

/** Builds what `npm run build` builds. */
export async function workerBundle(outdir: string): Promise<Bundle> {
  const metafile = path.join(outdir, 'meta.json');
  const wrangler = path.join(packageFolder('wrangler'), 'bin/wrangler.js');
  const options = ['deploy', '--dry-run', '--env=', '--outdir', outdir, '--metafile', metafile];
  await promisify(execFile)(process.execPath, [wrangler, ...options], { cwd: ROOT });
  const { outputs } = JSON.parse(await readFile(metafile, 'utf8')) as Metafile;
  const [file, module] = [path.join(outdir, 'worker.js'), path.join(outdir, 'worker.mjs')];
  await copyFile(file, module); // which Node takes for a module
  const measured = gzipSync(await readFile(file)).byteLength / 1000;
  return {
    name: 'Worker',
    outputs,
    unused: UNUSED_BY_WORKERS,
    size: { measured, budget: 110, unit: 'kB gzip' },
    entries: { Worker: pathToFileURL(module) },
    importBudget: 28,
  };
}
