import { expect, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { describeContract } from '../contract.ts';
import { functionUrl, streamedUrl } from './events.ts';
import { startApi } from './start-api.ts';
import { startFunction } from './start-function.ts';

it.each([
  ['lambda.handler', functionUrl],
  ['lambda-stream.handler', streamedUrl],
] as const)('%s takes cookies of any characters', async (handler, trigger) => {
  const lambda = await startFunction({ handler, environment: EXAMPLE_ENVIRONMENT });
  const event = await trigger.toEvent(new Request('https://api.example/health/live'));
  const response = await trigger.toResponse(await lambda.invoke({ ...(event as object), cookies: ['a=日本'] }));
  await lambda.close();
  expect([response.status, await response.text()]).toEqual([200, '{"status":"live"}']);
});

it('a streamed response need have no body', async () => {
  const headers = { 'Content-Type': 'application/vnd.awslambda.http-integration-response' };
  const posted = new Response(`{"statusCode":204,"headers":{"x-a":"b"}}${'\0'.repeat(8)}`, { headers });
  const { status, body, headers: answered } = await streamedUrl.toResponse(posted);
  expect([status, body, answered.get('X-A')]).toEqual([204, null, 'b']);
});

describeContract('Lambda behind a streaming Function URL', startApi('lambda-stream.handler', streamedUrl));
