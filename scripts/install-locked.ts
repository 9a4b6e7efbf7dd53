import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Installs what a folder's own lockfile says, unless it is there already. No install scripts run.
 * @returns whether it was installed now
 */
export function installLocked(folder: string): boolean {
  const lockfile = readFileSync(path.join(folder, 'package-lock.json'), 'utf8');
  const installed = path.join(folder, 'node_modules/.installed-lock.json');
  if (read(installed) === lockfile) return false;
  console.error(`Installing what ${path.relative('', folder)} needs …`);
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
  writeFileSync(installed, lockfile);
  return true;
}

/**
 * Runs a command in this terminal.
 * @throws {Error} when it fails
 */
export function run(command: string, args: string[], { cwd, env }: { cwd: string; env?: NodeJS.ProcessEnv }): void {
  const shell = process.platform === 'win32' && command === 'npm';
  const { status } = spawnSync(command, args, { cwd, env: { ...process.env, ...env }, stdio: 'inherit', shell });
  if (status !== 0) throw new Error(`${path.basename(command)} ${args.join(' ')} has failed.`);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
