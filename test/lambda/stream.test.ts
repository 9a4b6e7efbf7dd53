import { PassThrough } from 'node:stream';
import { Hono } from 'hono';
import { afterEach, expect, it, vi } from 'vitest';
import { streamingHandler } from '../../functions/lambda-app.ts';
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

afterEach(() => {
  vi.unstubAllGlobals();
});

it('a body that breaks off fails the invocation, and leaves the stream to the runtime', async () => {
  const HttpResponseStream = { from: (stream: PassThrough) => stream };
  vi.stubGlobal('awslambda', { streamifyResponse: <T>(handler: T) => handler, HttpResponseStream });
  let parts = 0;
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    if (parts++) throw new Error('half way');
    controller.enqueue(Buffer.from('part'));
  };
  const app = new Hono()
    .get('/half', (c) => c.body(new ReadableStream({ pull }, { highWaterMark: 0 })))
    .get('/thrown', () => {
      // oxlint-disable-next-line typescript/only-throw-error -- Hono handles none but errors
      throw 'a string';
    });
  const invoke = async (route: string, stream: PassThrough) => {
    const event = await streamedUrl.toEvent(new Request(`https://api.example${route}`));
    return streamingHandler(app)(event, stream as never, {} as never);
  };
  const stream = new PassThrough();
  await expect(invoke('/half', stream)).rejects.toThrow('half way');
  expect([String(stream.read()), stream.destroyed, stream.writableEnded]).toEqual(['part', false, false]);
  const unused = new PassThrough();
  await expect(invoke('/thrown', unused)).rejects.toBe('a string');
  expect([unused.read(), unused.destroyed, unused.writableEnded]).toEqual([null, false, false]);
});

describeContract('Lambda behind a streaming Function URL', startApi('lambda-stream.handler', streamedUrl));
