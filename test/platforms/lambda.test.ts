import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { describeContract } from '../contract.ts';
import { functionUrl, streamedUrl } from '../lambda/events.ts';
import { startApi } from '../lambda/start-api.ts';

const file = (path: string) => fileURLToPath(new URL(`node_modules/aws-lambda-ric/${path}`, import.meta.url));

const runtime = (handler: string) => ({ runtime: [file('index.mjs'), handler] });

// AWS's runtime interface client has a native part, which is built for Linux alone.
describe.skipIf(!existsSync(file('rapid-client.node')))('in the runtime of AWS', () => {
  describeContract('Lambda behind a Function URL', startApi('lambda.handler', functionUrl, runtime('lambda.handler')));
  describeContract(
    'Lambda behind a streaming Function URL',
    startApi('lambda-stream.handler', streamedUrl, runtime('lambda-stream.handler')),
  );
});
