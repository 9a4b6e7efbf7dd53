import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { packageFolder } from '../../scripts/package-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Runs what `npm run build` runs.
 * @param args more of them, for another entry or configuration
 * @returns the bundle's path
 */
export async function buildWorker(outdir: string, args: readonly string[] = []): Promise<string> {
  const wrangler = path.join(packageFolder('wrangler'), 'bin/wrangler.js');
  const options = ['deploy', ...args, '--dry-run', '--env=', '--outdir', outdir];
  await promisify(execFile)(process.execPath, [wrangler, ...options], { cwd: ROOT });
  return path.join(outdir, 'worker.js');
}
