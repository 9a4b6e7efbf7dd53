import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { Metafile } from 'esbuild';
import { bundleLambda, zipFiles } from './build-lambda.ts';
import { measureImport } from './measure-import.ts';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const WRANGLER = fileURLToPath(new URL('../node_modules/wrangler/bin/wrangler.js', import.meta.url));

/** Processes for each import; the median of them counts. */
const RUNS = 9;

export interface Measurement {
  what: string;
  /** Where a number does not say enough. */
  which?: string;
  measured: number;
  budget: number;
  unit: 'kB gzip' | 'kB zip' | 'ms' | 'modules';
}

/** What no bundle has to do with: this repository's tools, and what stands in for a platform's runtime in Node. */
const NEVER = [/^(local|scripts|test|bench)\//, /^node_modules\/(ws|miniflare|@hono\/node-server)\//];

/** What a platform has no use for. A module counts as in the bundle when anything of it is left. */
const UNUSED = {
  worker: [
    ...NEVER,
    /^node_modules\/(pg|pg-[^/]+|aws4fetch)\//,
    /^node_modules\/hono\/dist\/adapter\//,
    /^node_modules\/(unenv|@cloudflare\/unenv-preset)\//, // Node's modules, for workerd
    /^src\/db\/tcp\.ts$/,
  ],
  lambda: [
    ...NEVER,
    /^node_modules\/(pg-cloudflare\/(?!dist\/empty\.js)|pg-native\/|unenv\/)/,
    /^node_modules\/hono\/dist\/adapter\/(?!aws-lambda)/,
    /^functions\/(?!lambda|aws-secret)/,
  ],
};

/** @returns the modules in a bundle that its platform does not use */
export function unusedModules(platform: keyof typeof UNUSED, outputs: Metafile['outputs']): string[] {
  const modules = Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs));
  return modules
    .filter(([name, { bytesInOutput }]) => bytesInOutput > 0 && UNUSED[platform].some((unused) => unused.test(name)))
    .map(([name]) => name);
}

export interface Bundle {
  platform: keyof typeof UNUSED;
  outputs: Metafile['outputs'];
  /** What is uploaded. */
  size: Measurement;
  /** Modules that the platform loads, by a name for a person. */
  entries: Record<string, URL>;
}

/** Builds the bundles that are deployed into `directory`. */
export async function buildBundles(directory: string): Promise<Bundle[]> {
  return [await buildWorker(path.join(directory, 'worker')), await buildLambda(path.join(directory, 'lambda'))];
}

async function buildWorker(outdir: string): Promise<Bundle> {
  const metafile = path.join(outdir, 'meta.json');
  const options = ['deploy', '--dry-run', '--outdir', outdir, '--metafile', metafile];
  await promisify(execFile)(process.execPath, [WRANGLER, ...options], { cwd: ROOT });
  const { outputs } = JSON.parse(await readFile(metafile, 'utf8')) as Metafile;
  const [bundle, module] = [path.join(outdir, 'worker.js'), path.join(outdir, 'worker.mjs')];
  await copyFile(bundle, module); // as Node knows it for a module
  const measured = gzipSync(await readFile(bundle)).byteLength / 1000;
  return {
    platform: 'worker',
    outputs,
    size: { what: 'Worker: size', measured, budget: 110, unit: 'kB gzip' },
    entries: { Worker: pathToFileURL(module) },
  };
}

async function buildLambda(outdir: string): Promise<Bundle> {
  const outputs = await bundleLambda(outdir);
  const measured = (await zipFiles(Object.keys(outputs))).byteLength / 1000;
  const entry = (name: string) => pathToFileURL(path.join(outdir, `${name}.mjs`));
  return {
    platform: 'lambda',
    outputs,
    size: { what: 'Lambda: size', measured, budget: 150, unit: 'kB zip' },
    entries: { Lambda: entry('lambda'), 'Lambda, streaming': entry('lambda-stream') },
  };
}

/** Builds the bundles that are deployed, in a directory of their own, and measures them. */
export async function measureBundles(): Promise<Measurement[]> {
  const directory = await mkdtemp(path.join(tmpdir(), 'bundles-'));
  try {
    const measurements: Measurement[] = [];
    for (const { platform, outputs, size, entries } of await buildBundles(directory)) {
      measurements.push(size, unused(platform, unusedModules(platform, outputs)));
      for (const [name, url] of Object.entries(entries)) {
        const measured = await measureImport(url, RUNS);
        measurements.push({ what: `${name}: import`, measured, budget: 25, unit: 'ms' });
      }
    }
    return measurements;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const unused = (platform: Bundle['platform'], modules: string[]): Measurement => ({
  what: `${platform === 'worker' ? 'Worker' : 'Lambda'}: unused`,
  which: modules.join(', '),
  measured: modules.length,
  budget: 0,
  unit: 'modules',
});

/** @throws {Error} with the table when a budget is exceeded */
export function bundleTable(measurements: Measurement[]): string {
  const rows = measurements.map(({ what, measured, budget, unit, which = '' }) => {
    const digits = unit === 'modules' ? 0 : 1;
    const over = measured > budget ? `  over its budget ${which}`.trimEnd() : '';
    return `${what.padEnd(27)}${measured.toFixed(digits).padStart(6)} of ${String(budget).padStart(3)} ${unit}${over}`;
  });
  const table = rows.join('\n');
  if (measurements.some(({ measured, budget }) => measured > budget)) throw new Error(table);
  return table;
}

if (import.meta.main) await runCommand(async () => bundleTable(await measureBundles()));
