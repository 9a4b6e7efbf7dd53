import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Runs what `npm run build` runs.
 * @param args more of them, for another entry or configuration
 * @returns the bundle's path
 */
export async function buildWorker(outdir: string, args: readonly string[] = []): Promise<string> {
  const wrangler = path.join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
  const options = ['deploy', ...args, '--dry-run', '--env=', '--outdir', outdir];
  await promisify(execFile)(process.execPath, [wrangler, ...options], { cwd: ROOT });
  return path.join(outdir, 'worker.js');
}

/**
 * The Worker with all switches of wrangler.toml on, and the one of functions/worker.ts.
 * @returns the bundle's path
 */
export async function buildHyperdriveWorker(outdir: string): Promise<string> {
  const read = (file: string) => readFile(path.join(ROOT, file), 'utf8');
  const switched = replaceOnce(await read('functions/worker.ts'), "'./worker-neon.ts'", "'./worker-hyperdrive.ts'");
  const entry = switched.replaceAll(
    /from '(\.[^']+)'/g,
    (_, file: string) => `from '${ROOT}${path.join('functions', file)}'`,
  );
  const configuration = (await read('wrangler.toml')).replaceAll(/^#(?=\S)/gm, '');
  await mkdir(outdir, { recursive: true });
  const [entryFile, configurationFile] = [path.join(outdir, 'worker.ts'), path.join(outdir, 'wrangler.toml')];
  await writeFile(entryFile, entry);
  await writeFile(configurationFile, replaceOnce(configuration, '"functions/worker.ts"', JSON.stringify(entryFile)));
  return buildWorker(path.join(outdir, 'bundle'), ['--config', configurationFile]);
}

/** In workerd `pg` reaches the network through this module; nothing else here does. */
export async function carriesPg(bundle: string): Promise<boolean> {
  return (await readFile(bundle, 'utf8')).includes('cloudflare:sockets');
}

/** @throws {Error} when `part` is missing, or there more than once */
export function replaceOnce(text: string, part: string, by: string): string {
  if (text.split(part).length !== 2) throw new Error(`${part} is to be there once`);
  return text.replace(part, () => by);
}
