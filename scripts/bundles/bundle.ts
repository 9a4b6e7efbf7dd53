import { rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type Metafile } from 'esbuild';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What is deployed to a platform. */
export interface Bundle {
  name: string;
  outputs: Metafile['outputs'];
  /** Modules that the platform has no use for. One counts as in the bundle if any of it is left. */
  unused: readonly RegExp[];
  /** The size of what is uploaded, and its budget, in kB. */
  size: { measured: number; budget: number; unit: 'kB gzip' | 'kB zip' };
  /** Modules that the platform loads, by a name for people. */
  entries: Record<string, URL>;
  /** For the import of each, in milliseconds on a machine on which the Neon driver alone takes `DRIVER_MS`. */
  importBudget: number;
}

/** What belongs in no bundle: this repository's tools, and what stands in for a platform's runtime in Node. */
export const NEVER = [/^(local|scripts|test|bench)\//, /^node_modules\/(ws|miniflare|@hono\/node-server)\//];

/** @returns the modules in a bundle that its platform does not use */
export function unusedModules({ outputs, unused }: Pick<Bundle, 'outputs' | 'unused'>): string[] {
  const modules = Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs));
  return modules
    .filter(([name, { bytesInOutput }]) => bytesInOutput > 0 && unused.some((pattern) => pattern.test(name)))
    .map(([name]) => name);
}

/**
 * Bundles entries for functions in Node into a directory, with what they share in a file of its own.
 * @returns what is in each file, by its path
 */
export async function bundleForNode(
  entryPoints: string[],
  outdir: string,
  options: BuildOptions = {},
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
    external: ['pg-native'],
    // `pg` is CommonJS and requires Node's own modules. Under a name of its own: what is bundled may import the same function.
    banner: { js: "import{createRequire as $require}from'node:module';const require=$require(import.meta.url);" },
    ...options,
    metafile: true,
  });
  return Object.fromEntries(
    Object.entries(metafile.outputs).map(([file, output]) => [path.resolve(ROOT, file), output]),
  );
}
