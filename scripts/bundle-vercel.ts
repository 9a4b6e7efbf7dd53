import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Metafile } from 'esbuild';
import { bundleForNode } from './bundles/bundle-for-node.ts';
import { runCommand } from './run-command.ts';

/** Packages that cannot be bundled, such as one with native code: Vercel adds them from node_modules. */
const EXTERNAL: string[] = [];

/** The file that Vercel starts. Node ignores the source maps of what it loaded before they were enabled. */
const START = `// Vercel takes the file that imports from 'hono' for the app.
process.setSourceMapsEnabled(true);
export default (await import('./vercel.mjs')).default;
`;

/**
 * Bundles the Vercel entry into a directory. As single files, drizzle's alone would take most of a cold start.
 * @returns what is in each file, by its path
 */
export async function bundleVercel(outdir: string, external = EXTERNAL): Promise<Metafile['outputs']> {
  const outputs = await bundleForNode(['functions/vercel.ts'], outdir, {
    external,
    sourcemap: 'inline', // Vercel would leave a file behind that nothing imports
    sourcesContent: false,
  });
  await writeFile(path.join(outdir, 'index.mjs'), START);
  return outputs;
}

const HELP = `Bundles the API for Vercel in dist/vercel. It is what "vercel build" runs (vercel.json).

Usage: node scripts/bundle-vercel.ts
`;

if (import.meta.main) {
  await runCommand(HELP, {}, async () => {
    await bundleVercel(fileURLToPath(new URL('../dist/vercel', import.meta.url)));
    return 'Bundled in dist/vercel.';
  });
}
