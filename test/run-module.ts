import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** Runs a module in a process of its own, as if it stood in the root of the repository. */
export function runModule(text: string): Promise<{ stdout: string; stderr: string }> {
  const args = ['--import', './src/fast-imports.ts', '--input-type=module', '--eval', text];
  return promisify(execFile)(process.execPath, args, { cwd: ROOT });
}
