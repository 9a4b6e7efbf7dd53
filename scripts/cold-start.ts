import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { startListening } from '../local/start-listening.ts';
import { bundleLambda } from './build-lambda.ts';
import { EXAMPLE_ENVIRONMENT } from './example-environment.ts';
import { measureImport } from './measure-import.ts';
import { runCommand } from './run-command.ts';

const HELP = `Measures what it adds to a cold start of the Lambda function to read its variables from Secrets Manager.

Usage: npm run bench:cold-start [-- options]

  --secret NAME   read this secret from Secrets Manager itself, with AWS_REGION and the credentials of the environment;
                  without it, from a server on this machine that answers at once: what is left is the code's own cost
  --runs N        processes for each number, of which the median counts (default 15)
`;

const OPTIONS = { secret: { type: 'string' }, runs: { type: 'string', default: '15' } } as const;

await runCommand(HELP, { options: OPTIONS }, async ({ values }) => {
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1)
    throw new Error(`--runs must be a whole number above 0, not "${values.runs}".`);

  const directory = await mkdtemp(path.join(tmpdir(), 'cold-start-'));
  const server = createServer((_, response) =>
    response.end(JSON.stringify({ SecretString: JSON.stringify(EXAMPLE_ENVIRONMENT) })),
  );
  try {
    await bundleLambda(directory);
    const local = {
      SECRET_ID: 'local',
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'local',
      AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${await startListening(server)}`,
    };
    const bundle = pathToFileURL(path.join(directory, 'lambda.mjs'));
    const environment = await measureImport(bundle, runs);
    const secret = await measureImport(bundle, runs, values.secret ? awsEnvironment(values.secret) : local);
    return [
      `variables in the environment  ${environment.toFixed(1)} ms`,
      `variables in a secret         ${secret.toFixed(1)} ms`,
      `the secret                   +${(secret - environment).toFixed(1)} ms`,
    ].join('\n');
  } finally {
    server.close();
    await rm(directory, { recursive: true, force: true });
  }
});

function awsEnvironment(secret: string): Record<string, string> {
  const aws = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'));
  return { ...(Object.fromEntries(aws) as Record<string, string>), SECRET_ID: secret };
}
