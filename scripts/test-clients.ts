import { fileURLToPath } from 'node:url';
import { installLocked, run } from './install-locked.ts';
import { runCommand } from './run-command.ts';

const cwd = fileURLToPath(new URL('../test/conformance/clients/', import.meta.url));

/**
 * Whatever it does, Prisma's command looks for an engine of its own, which it would download. Generating needs none: the client
 * runs on WebAssembly from the npm package. So it is pointed to a program that exists.
 */
const env = {
  PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
  CHECKPOINT_DISABLE: '1',
  PRISMA_HIDE_UPDATE_MESSAGE: '1',
};

const HELP = `Tests the gateway with kysely and Prisma, which it installs first in test/conformance/clients.

Usage: npm run test:clients
`;

/** Other people's clients, from a folder with a lockfile of its own: they are not dependencies of this template. */
await runCommand(HELP, {}, async () => {
  installLocked(cwd);
  run(process.execPath, ['node_modules/prisma/build/index.js', 'generate', '--config', 'prisma.config.mjs'], {
    cwd,
    env,
  });
  run(process.execPath, ['--test', 'clients.mjs'], { cwd, env });
  return 'Kysely and Prisma work with the gateway.';
});
