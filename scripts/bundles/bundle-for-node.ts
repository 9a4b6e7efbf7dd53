import { rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type Metafile } from 'esbuild';
import { NEVER } from './bundle.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What functions in Node have no use for. */
export const UNUSED_BY_NODE = [...NEVER, /^node_modules\/(pg-cloudflare\/(?!dist\/empty\.js)|pg-native\/|unenv\/)/];

/**
 * Bundles entries for functions in Node into a directory, with what they share in a file of its own.
 * @returns what is in each file, by its path
 */
export async function bundleForNode(
  entryPoints: string[],
  outdir: string,
  { external = [], ...options }: BuildOptions = {},
): Promise<Metafile['outputs']> {
  await rm(outdir, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    // Not the identifiers: stack traces in the log should name functions.
    minifySyntax: true,
    minifyWhitespace: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['pg-native', ...external],
    // `pg` is CommonJS and requires Node's own modules. Under a name of its own: what is bundled may import the same function.
    banner: { js: "import{createRequire as $require}from'node:module';const require=$require(import.meta.url);" },
    ...options,
    metafile: true,
  });
  return Object.fromEntries(
    Object.entries(metafile.outputs).map(([file, output]) => [path.resolve(ROOT, file), output]),
  );
}
