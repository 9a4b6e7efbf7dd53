import { Hono } from 'hono';
import * as v from 'valibot';
import { expect, it } from 'vitest';
import type { AppEnv } from '../../src/create-app.ts';
import { validate } from '../../src/middleware/validate.ts';
import { answerProblem } from '../../src/problem.ts';

const schema = v.object({ name: v.optional(v.string()), sizes: v.optional(v.record(v.string(), v.array(v.number()))) });
const app = new Hono<AppEnv>().post('/', validate('json', schema), (c) => c.json(c.req.valid('json')));
app.onError(answerProblem);

it.each([
  ['text/plain', 415, { detail: "The request's Content-Type must be application/json." }],
  ['application/x-www-form-urlencoded', 415, { detail: "The request's Content-Type must be application/json." }],
  ['text/plain; of=application/json', 415, { detail: "The request's Content-Type must be application/json." }],
  ['application/jsonl', 415, { detail: "The request's Content-Type must be application/json." }],
  ['application/json', 200, { name: 'Ada' }],
])('where a schema asks for nothing, a body of type %s is answered with %d', async (type, status, body) => {
  const request = { method: 'POST', headers: { 'Content-Type': type }, body: '{"name":"Ada"}' };
  const response = await app.request('/', request);
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject(body);
});

it('an error deep in a body is pointed to (RFC 6901)', async () => {
  const body = JSON.stringify({ sizes: { 'wide/narrow~0': [1, 'x'] } });
  const headers = { 'Content-Type': 'application/json' };
  const response = await app.request('/', { method: 'POST', headers, body });
  expect(await response.json()).toMatchObject({ errors: [{ pointer: '/sizes/wide~1narrow~00/1' }] });
});
