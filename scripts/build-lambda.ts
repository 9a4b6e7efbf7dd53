import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Metafile } from 'esbuild';
import { zipSync } from 'fflate';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** The same for every build: identical code makes an identical file, which SAM does not upload again. */
const MODIFIED = '2026-01-01';

/**
 * Bundles the Lambda entries into a directory, with what they share in a file of its own.
 * @returns what is in each file, by its path
 */
export async function bundleLambda(outdir: string): Promise<Metafile['outputs']> {
  await rm(outdir, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['functions/lambda.ts', 'functions/lambda-stream.ts'],
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    // Not the identifiers: stack traces in the log should name functions. A source map would make the start a third slower.
    minifySyntax: true,
    minifyWhitespace: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['pg-native'],
    // `pg` is CommonJS and requires Node's own modules. Under a name of its own: what is bundled may import the same function.
    banner: { js: "import{createRequire as $require}from'node:module';const require=$require(import.meta.url);" },
    metafile: true,
  });
  return Object.fromEntries(
    Object.entries(metafile.outputs).map(([file, output]) => [path.resolve(ROOT, file), output]),
  );
}

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
