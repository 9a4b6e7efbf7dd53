import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { zipSync } from 'fflate';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** The same for every build: equal code makes an equal file, which SAM does not upload again. */
const MODIFIED = '2026-01-01';

/**
 * Bundles the Lambda entries into a directory, with what they share in a file of its own.
 * @returns the files' paths
 */
export async function bundleLambda(outdir: string): Promise<string[]> {
  await rm(outdir, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['functions/lambda.ts', 'functions/lambda-stream.ts'],
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['pg-native'],
    // `pg` is CommonJS and requires Node's own modules.
    banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
    metafile: true,
  });
  return Object.keys(metafile.outputs).map((file) => path.resolve(ROOT, file));
}

if (import.meta.main) {
  await runCommand(async () => {
    const files = await bundleLambda(path.join(ROOT, 'dist/lambda'));
    const contents = await Promise.all(files.map(async (file) => [path.basename(file), await readFile(file)] as const));
    const zip = zipSync(Object.fromEntries(contents), { level: 9, mtime: MODIFIED });
    await writeFile(path.join(ROOT, 'dist/lambda.zip'), zip);
    return `dist/lambda.zip: ${(zip.byteLength / 1000).toFixed(1)} kB, ${files.length} files`;
  });
}
