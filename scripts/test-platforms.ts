import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked, run } from './install-locked.ts';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const TOOLS = path.join(ROOT, 'test/platforms');

const HELP = `Tests what "vercel build" makes, the Lambda function in AWS's runtime, and what "npm run init" leaves. Installs the
platforms' tools first, in test/platforms.

Usage: npm run test:platforms [-- FILE …]
`;

await runCommand(HELP, { strict: false }, async () => {
  installLocked(TOOLS);
  if (process.platform === 'linux' && !existsSync(path.join(TOOLS, 'node_modules/aws-lambda-ric/rapid-client.node'))) {
    console.error("Building AWS's runtime for Lambda beside the other tests, in some minutes …");
  }
  const vitest = path.join(ROOT, 'node_modules/vitest/vitest.mjs');
  run(process.execPath, [vitest, 'run', '--project', 'platforms', ...process.argv.slice(2)], { cwd: ROOT });
  return 'The app runs as the platforms run it.';
});
