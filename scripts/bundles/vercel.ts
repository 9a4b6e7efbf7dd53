import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { bundleVercel } from '../bundle-vercel.ts';
import type { Bundle } from './bundle.ts';
import { UNUSED_BY_NODE } from './bundle-for-node.ts';

export const UNUSED_BY_VERCEL = [
  ...UNUSED_BY_NODE,
  /^node_modules\/aws4fetch\//,
  /^node_modules\/hono\/dist\/adapter\//,
  /^functions\/(aws-secret|lambda|node|worker)/, // not what an entry imports first, such as a tracer
];

/** Builds what Vercel's own command builds. */
export async function vercelBundle(outdir: string): Promise<Bundle> {
  const outputs = await bundleVercel(outdir);
  const files = await Promise.all(Object.keys(outputs).map((file) => readFile(file)));
  const measured = files.reduce((sum, file) => sum + gzipSync(file).byteLength, 0) / 1000;
  return {
    name: 'Vercel',
    outputs,
    unused: UNUSED_BY_VERCEL,
    size: { measured, budget: 300, unit: 'kB gzip' },
    entries: { Vercel: pathToFileURL(path.join(outdir, 'index.mjs')) },
    importBudget: 50, // a third of it for the source maps
  };
}
