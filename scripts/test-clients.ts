import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const CLIENTS = fileURLToPath(new URL('../test/conformance/clients/', import.meta.url));

/**
 * Prisma's command looks for an engine of its own, which it would download, whatever it does. Generating needs none: the client
 * runs on WebAssembly from the npm package. So it is shown a program that is there.
 */
const PRISMA = {
  PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
  CHECKPOINT_DISABLE: '1',
  PRISMA_HIDE_UPDATE_MESSAGE: '1',
};

/** Other people's clients, from a folder with a lockfile of its own: they are no dependencies of this template. */
run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
run(process.execPath, ['node_modules/prisma/build/index.js', 'generate', '--config', 'prisma.config.mjs']);
run(process.execPath, ['--test', 'clients.mjs']);

function run(command: string, args: string[]): void {
  const options = { cwd: CLIENTS, stdio: 'inherit', env: { ...process.env, ...PRISMA } } as const;
  const { status } = spawnSync(command, args, { ...options, shell: process.platform === 'win32' && command === 'npm' });
  if (status !== 0) process.exit(status ?? 1);
}
