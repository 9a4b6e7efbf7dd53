import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { buildLambda } from './build-lambda.ts';
import { runCommand } from './run-command.ts';

/** The folder of template.yaml and samconfig.toml: SAM looks for the second next to the first. */
const FUNCTIONS = fileURLToPath(new URL('../functions/', import.meta.url));

const HELP = `Builds the Lambda bundle and deploys functions/template.yaml with AWS SAM, as functions/samconfig.toml says.

Usage: npm run deploy:lambda [-- OPTION …]

Options go to "sam deploy" as they are, for instance --config-env staging. docs/deploy.md has the rest.
`;

const INSTALL = `"sam", the AWS SAM CLI, is not installed. Get it with one of these, then "sam --version":
  brew install aws-sam-cli        macOS, Linux
  pipx install aws-sam-cli        anywhere with Python
  https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html`;

await runCommand(HELP, { strict: false }, async () => {
  const args = process.argv.slice(2);
  // On Windows it is a .cmd file, which needs a shell.
  const sam = (options: string[], stdio: 'inherit' | 'ignore') =>
    spawnSync('sam', options, { cwd: FUNCTIONS, stdio, shell: process.platform === 'win32' });
  if (sam(['--version'], 'ignore').status !== 0) throw new Error(INSTALL);
  console.log(await buildLambda());
  const { status } = sam(['deploy', '--template-file', 'template.yaml', ...args], 'inherit');
  if (status !== 0) throw new Error('sam deploy has failed: see above.');
  return 'Deployed. Try it: npm run smoke -- URL';
});
