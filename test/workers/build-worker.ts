import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Runs what `npm run build` runs. @returns the bundle's path */
export async function buildWorker(directory: string): Promise<string> {
  const wrangler = fileURLToPath(new URL('../../node_modules/wrangler/bin/wrangler.js', import.meta.url));
  const options = ['deploy', '--dry-run', '--outdir', directory];
  await promisify(execFile)(process.execPath, [wrangler, ...options]);
  return path.join(directory, 'worker.js');
}
