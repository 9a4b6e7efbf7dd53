import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { Hono } from 'hono';
import { handle } from 'hono/aws-lambda';
import { getCookie, setCookie } from 'hono/cookie';
import { expect, inject, it, vi } from 'vitest';
import { withValidRequest } from '../../functions/lambda-app.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { fromFunctionUrlResult, toFunctionUrlEvent } from '../../scripts/function-url.ts';
import { describeContract, NOBODY } from '../contract.ts';
import { PATIENCE } from '../database.ts';
import { functionUrl, httpApi, loadBalancer, restApi, streamedUrl } from './events.ts';
import { startApi } from './start-api.ts';
import { startFunction } from './start-function.ts';

describeContract('Lambda behind a Function URL', startApi('lambda.handler', functionUrl));
describeContract('Lambda behind an HTTP API', startApi('lambda.handler', httpApi));
describeContract('Lambda behind a REST API', startApi('lambda.handler', restApi));
describeContract('Lambda behind a load balancer', startApi('lambda.handler', loadBalancer));

it.each([
  ['a Function URL', 'lambda.handler', functionUrl],
  ['a load balancer', 'lambda.handler', loadBalancer],
  ['a streaming Function URL', 'lambda-stream.handler', streamedUrl],
])('Lambda behind %s takes no notice of the body of a GET', async (_, handler, { toEvent, toResponse }) => {
  const environment = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: inject('stack').app };
  const { invoke, close } = await startFunction({ handler, environment });
  const event = await toEvent(new Request('https://api.example/health/live'));
  const response = await toResponse(await invoke(Object.assign(event as object, { body: '{}' })));
  expect(response.status).toBe(200);
  await close();
});

it('what stands in for a Function URL passes on any bytes, and cookies', async () => {
  const app = new Hono().post('/', async (c) => {
    setCookie(c, 'theme', getCookie(c, 'theme') ?? '');
    setCookie(c, 'language', 'en');
    return c.body(await c.req.arrayBuffer(), 200, { 'Content-Type': 'image/png' });
  });
  const bytes = Uint8Array.of(0x89, 0xff, 0, 0x0a);
  const headers = { 'Content-Type': 'image/png', Cookie: 'a=b; theme=dark' };
  const event = await toFunctionUrlEvent(new Request('https://api.example/', { method: 'POST', headers, body: bytes }));
  const response = fromFunctionUrlResult(await handle(app)(event as never));
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
  expect(response.headers.getSetCookie()).toEqual(['theme=dark; Path=/', 'language=en; Path=/']);
});

it('the stack of an error in the log of Lambda names functions', async () => {
  const environment = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: NOBODY };
  const { invoke, log, close } = await startFunction({ handler: 'lambda.handler', environment });
  await invoke(await functionUrl.toEvent(new Request('https://api.example/health/ready')));
  await vi.waitFor(() => expect(log()).toMatch(/ at runQueries \(/), PATIENCE);
  await close();
});

it('the bundle for Lambda leaves libraries, such as Sentry’s, the name createRequire', async () => {
  const bundle = path.join(inject('lambdaBundle'), 'lambda.mjs');
  const copy = path.join(inject('lambdaBundle'), 'copy.mjs');
  await writeFile(copy, `import { createRequire } from 'node:module';\n${await readFile(bundle, 'utf8')}`);
  await promisify(execFile)(process.execPath, ['--check', copy]);
});

it.each<[string, (method: string) => object]>([
  ['1.0', (method) => ({ httpMethod: method })],
  ['2.0', (method) => ({ requestContext: { http: { method } } })],
  ['VPC Lattice', (method) => ({ method })],
])('an event of payload format %s keeps its body where a request may have one', async (_, eventOf) => {
  const valid = withValidRequest(async (event: { body: string | null }) => event.body);
  const bodies = ['GET', 'HEAD', 'POST'].map((method) => valid({ ...eventOf(method), body: '{}' } as never));
  expect(await Promise.all(bodies)).toEqual([null, null, '{}']);
});
