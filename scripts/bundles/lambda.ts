import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundleLambda, zipFiles } from '../build-lambda.ts';
import type { Bundle } from './bundle.ts';
import { UNUSED_BY_NODE } from './bundle-for-node.ts';

export const UNUSED_BY_LAMBDA = [
  ...UNUSED_BY_NODE,
  /^node_modules\/hono\/dist\/adapter\/(?!aws-lambda)/,
  /^functions\/(node|vercel|worker)/, // not what an entry imports first, such as a tracer
];

/** Builds what `npm run build:lambda` zips. */
export async function lambdaBundle(outdir: string): Promise<Bundle> {
  const outputs = await bundleLambda(outdir);
  const measured = (await zipFiles(Object.keys(outputs))).byteLength / 1000;
  const entry = (name: string) => pathToFileURL(path.join(outdir, `${name}.mjs`));
  return {
    name: 'Lambda',
    outputs,
    unused: UNUSED_BY_LAMBDA,
    size: { measured, budget: 165, unit: 'kB zip' },
    entries: { Lambda: entry('lambda'), 'Lambda, streaming': entry('lambda-stream') },
    importBudget: 28,
  };
}
