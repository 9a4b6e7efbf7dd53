import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Metafile } from 'esbuild';
import { zipSync } from 'fflate';
import { bundleForNode } from './bundles/bundle-for-node.ts';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/**
 * The same for every build: identical code makes an identical file, which SAM does not upload again. A zip holds local time;
 * without a zone, this is local time, too.
 */
const MODIFIED = '2026-01-01T00:00';

/**
 * Bundles the Lambda entries into a directory. Without a source map, which would make the start a third slower.
 * @returns what is in each file, by its path
 */
export const bundleLambda = (outdir: string): Promise<Metafile['outputs']> =>
  bundleForNode(['functions/lambda.ts', 'functions/lambda-stream.ts'], outdir);

/**
 * Builds `dist/lambda.zip`.
 * @returns what was built, for people to read
 */
export async function buildLambda(): Promise<string> {
  const files = Object.keys(await bundleLambda(path.join(ROOT, 'dist/lambda')));
  const zip = await zipFiles(files);
  await writeFile(path.join(ROOT, 'dist/lambda.zip'), zip);
  return `dist/lambda.zip: ${(zip.byteLength / 1000).toFixed(1)} kB, ${files.length} files`;
}

/** The files as Lambda expects them, without their directory. */
export async function zipFiles(files: string[]): Promise<Uint8Array> {
  const contents = await Promise.all(files.map(async (file) => [path.basename(file), await readFile(file)] as const));
  return zipSync(Object.fromEntries(contents), { level: 9, mtime: MODIFIED });
}

const HELP = `Bundles the Lambda function, plain and streaming, in dist/lambda.zip.

Usage: npm run build:lambda
`;

if (import.meta.main) await runCommand(HELP, {}, buildLambda);
