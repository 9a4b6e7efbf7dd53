import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe } from 'vitest';
import { describeContract } from '../contract.ts';
import { functionUrl, streamedUrl } from '../lambda/events.ts';
import { startApi } from '../lambda/start-api.ts';

const file = (path: string) => fileURLToPath(new URL(`node_modules/aws-lambda-ric/${path}`, import.meta.url));

const runtime = (handler: string) => ({ runtime: [file('index.mjs'), handler] });

// AWS's runtime interface client contains C++, for Linux alone, which needs cmake and a compiler.
describe.skipIf(process.platform !== 'linux')('in the runtime of AWS', () => {
  // Here, and not before all tests: most of the time, `configure` keeps only one processor busy.
  beforeAll(async () => {
    if (existsSync(file('rapid-client.node'))) return;
    await promisify(execFile)('npm', ['rebuild', 'aws-lambda-ric'], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      env: { ...process.env, CONFIG_SHELL: '/bin/sh' }, // `configure` would look for bash, which takes half as long again
    });
  }, 15 * 60_000);

  describeContract('Lambda behind a Function URL', startApi('lambda.handler', functionUrl, runtime('lambda.handler')));
  describeContract(
    'Lambda behind a streaming Function URL',
    startApi('lambda-stream.handler', streamedUrl, runtime('lambda-stream.handler')),
  );
});
