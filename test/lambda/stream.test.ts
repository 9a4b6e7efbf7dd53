import { PassThrough } from 'node:stream';
import { Hono } from 'hono';
import { afterEach, expect, it, vi } from 'vitest';
import { streamingHandler } from '../../functions/lambda-app.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { toFunctionUrlEvent } from '../../scripts/function-url.ts';
import { describeContract } from '../contract.ts';
import { functionUrl, streamedUrl } from './events.ts';
import { startRuntimeApi } from './runtime-api.ts';
import { startApi } from './start-api.ts';
import { startFunction } from './start-function.ts';

it.each([
  ['lambda.handler', functionUrl],
  ['lambda-stream.handler', streamedUrl],
] as const)('%s takes cookies of any characters', async (handler, trigger) => {
  const lambda = await startFunction({ handler, environment: EXAMPLE_ENVIRONMENT });
  const event = await trigger.toEvent(new Request('https://api.example/health/live'));
  const response = await trigger.toResponse(
    await lambda.invoke({ ...(event as object), cookies: ['a=日本', 'b=\r\n\0\x7f\ud800'] }),
  );
  expect([response.status, await response.text()]).toEqual([200, '{"status":"live"}']);
  await lambda.close();
});

it('refuses an event that no request can be made of, as without streaming', async () => {
  const answers = [];
  for (const [handler, trigger] of [
    ['lambda.handler', functionUrl],
    ['lambda-stream.handler', streamedUrl],
  ] as const) {
    const lambda = await startFunction({ handler, environment: EXAMPLE_ENVIRONMENT });
    const event = await toFunctionUrlEvent(new Request('https://api.example/health/live'));
    event.requestContext.http.method = 'TRACE';
    const response = await trigger.toResponse(await lambda.invoke(event));
    answers.push([response.status, await response.text()]);
    await lambda.close();
  }
  expect(answers).toEqual([
    [400, 'Invalid request'],
    [400, 'Invalid request'],
  ]);
});

it('sends the metadata of an empty body, too, and passes on the context', async () => {
  const HttpResponseStream = { from: (stream: PassThrough) => stream };
  vi.stubGlobal('awslambda', { streamifyResponse: <T>(handler: T) => handler, HttpResponseStream });
  const environments: unknown[] = [];
  const app = new Hono().get('/empty', ({ env }) => {
    environments.push(env);
    return new Response('');
  });
  const stream = new PassThrough();
  const write = vi.spyOn(stream, 'write'); // what they leave in front of
  const event = await streamedUrl.toEvent(new Request('https://api.example/empty'));
  const context = { awsRequestId: 'of this invocation' };
  await streamingHandler(app)(event, stream as never, context as never);
  expect([write.mock.calls.length, stream.writableEnded]).toEqual([1, true]);
  expect(environments).toMatchObject([{ lambdaContext: context }]);
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

it('a runtime that reports an error, or has no body to send, is given the next event', async () => {
  const api = await startRuntimeApi();
  const at = `http://${api.address}/2018-06-01/runtime/invocation`;
  const next = async () => (await fetch(`${at}/next`)).headers.get('Lambda-Runtime-Aws-Request-Id');
  const failed = api.invoke({}).catch((error: Error) => error.message);
  const report = JSON.stringify({ errorType: 'Error', errorMessage: 'mine' });
  expect((await fetch(`${at}/${await next()}/error`, { method: 'POST', body: report })).status).toBe(202);
  expect(await failed).toBe('Error: mine');

  const answered = api.invoke({}).then((posted) => streamedUrl.toResponse(posted));
  const headers = { 'Content-Type': 'application/vnd.awslambda.http-integration-response' };
  const body = `${JSON.stringify({ statusCode: 204 })}${'\0'.repeat(8)}`;
  expect((await fetch(`${at}/${await next()}/response`, { method: 'POST', headers, body })).status).toBe(202);
  expect((await answered).status).toBe(204);
  await api.close();
});

describeContract('Lambda behind a streaming Function URL', startApi('lambda-stream.handler', streamedUrl));
