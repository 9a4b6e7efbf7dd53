import { Validator } from '@seriousme/openapi-schema-validator';
import * as v from 'valibot';
import { expect, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { describeOperation, openApiDocument, templateOf } from '../../scripts/openapi/document.ts';
import { convert } from '../../scripts/openapi/json-schema.ts';
import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';
import { schemas } from '../../src/openapi/operations.ts';
import { compareRequest, documented } from '../openapi.ts';

const document = openApiDocument();

it('the document is one of OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate({ ...document })).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

it('every route of the app is an operation of the document, and the other way round', () => {
  const { app } = createApp(parseConfig(EXAMPLE_ENVIRONMENT), { transports: {}, sockets: 'instance' });
  const routes = app.routes
    .filter(({ method }) => method !== 'ALL') // middleware
    .map(({ method, path }) => `${method} ${templateOf(path)}`);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(new Set(operations)).toEqual(new Set(routes));
});

it.each([
  ['/notes/:id/pages/:page', '/notes/{id}/pages/{page}'],
  ['/notes/:id{[0-9]{1,9}}/pages/:page{[a-z]+}', '/notes/{id}/pages/{page}'],
])('the path %s is %s in the document', (path, template) => {
  expect(templateOf(path)).toBe(template);
});

it('a list in a query is compared with the document as a whole', () => {
  const tag = v.picklist(['a', 'b']);
  const query = v.object({ tag: v.union([v.array(tag), tag]) });
  const operation = describeOperation('/notes', 'get', { operationId: 'any', summary: 'Any', query, responses: {} });
  const compare = (search: string) => compareRequest(new Request(`http://localhost/notes?${search}`), '', operation);
  expect(compare('tag=a&tag=b')).toEqual([]);
  expect(compare('tag=a')).toEqual([]);
  expect(compare('tag=a&tag=c')).not.toEqual([]);
  expect(compare('')).toEqual(['tag']);
});

it('an operation with a schema that JSON Schema has no word for is named', () => {
  const json = v.object({
    dueAt: v.pipe(
      v.string(),
      v.transform((text) => new Date(text)),
    ),
  });
  const operation = { operationId: 'addInvoice', summary: 'Add an invoice', json, responses: {} };
  expect(() => describeOperation('/invoices', 'post', operation)).toThrow(
    'addInvoice in src/openapi/operations.ts: The "transform" action cannot be converted to JSON Schema.',
  );
});

it('an object that may lack any field, but not all of them, is described as such', () => {
  const change = v.pipe(v.object({ text: v.exactOptional(v.string()) }), v.minEntries(1, 'must change something'));
  expect(convert(change)).toMatchObject({ required: [], minProperties: 1, description: 'must change something' });
});

it.each([
  ['a time', v.pipe(v.string(), v.isoTime('must be a time')), '18:30'],
  ['a date and a time', v.pipe(v.string(), v.isoDateTime('must be both')), '2027-12-31T18:30'],
])('%s without an offset is described as what is taken', (_, schema, taken) => {
  const { format, pattern = '' } = convert(schema);
  expect(format).toBeUndefined();
  expect([taken, `${taken}:00Z`].map((text) => new RegExp(pattern).test(text))).toEqual([true, false]);
  expect([taken, `${taken}:00Z`].map((text) => v.is(schema, text))).toEqual([true, false]);
});

it('an operation is described with the problems that follow from what it takes', () => {
  const operation = { operationId: 'any', summary: 'Any', responses: { 200: {} } };
  const statuses = (method: string, taken: object) =>
    Object.keys(describeOperation('/notes', method, { ...operation, ...taken }).responses).map(Number);
  expect(statuses('get', { open: true })).toEqual([200, 429, 500]);
  expect(statuses('get', {})).toEqual([200, 401, 429, 500, 503]);
  for (const part of ['param', 'query', 'header']) {
    expect(statuses('get', { [part]: v.object({}) })).toEqual([200, 400, 401, 429, 500, 503]);
  }
  expect(statuses('post', {})).toEqual([200, 400, 401, 413, 429, 500, 503]);
  expect(statuses('post', { json: v.object({}) })).toEqual([200, 400, 401, 413, 415, 429, 500, 503]);
});

it('an operation says what it takes, and of a problem no more than is its own', () => {
  const [named] = Object.values(schemas); // which others refer to; parameters cannot
  const { tags, parameters, requestBody, responses } = describeOperation('/notes/:id', 'put', {
    operationId: 'changeNote',
    summary: 'Change a note',
    param: v.object({ id: v.pipe(v.string(), v.description('Of a note.')) }),
    ...(named && { query: named }),
    header: v.object({ 'if-match': v.string() }),
    json: v.object({}),
    responses: { 200: {}, 404: { headers: v.object({ Link: v.optional(v.string()) }) } },
    problems: ['not-found', 'invalid-request'],
  });
  expect([tags, requestBody?.required]).toEqual([['notes'], true]);
  const type = 'string';
  expect(parameters[0]).toEqual({
    in: 'path',
    name: 'id',
    required: true,
    description: 'Of a note.',
    schema: { type },
  });
  expect(parameters.at(-1)).toEqual({ in: 'header', name: 'If-Match', required: true, schema: { type } });
  expect(parameters.filter((parameter) => parameter.in === 'query')).not.toEqual([]);
  expect(responses).toMatchObject({
    200: { description: 'OK' },
    400: { $ref: '#/components/responses/invalid-request' },
    404: { description: 'Nothing was found.', headers: { Link: { required: false } } },
  });
  expect(responses[200]).toHaveProperty('content', {});
});

it('a body that is not JSON has a media type', () => {
  const contentOf = (mediaType: string) =>
    describeOperation('/notes.csv', 'get', {
      operationId: 'exportNotes',
      summary: 'All notes',
      responses: { 200: { mediaType } },
    }).responses[200];
  expect(contentOf('text/csv')).toMatchObject({ content: { 'text/csv': { schema: { type: 'string' } } } });
  expect(contentOf('application/pdf')).toMatchObject({ content: { 'application/pdf': { schema: {} } } });
});

it.each([
  ['text/csv', 'a,b'],
  ['application/x-ndjson', '{}\n{}\n'],
])('an answer that is %s is compared with the document, too', async (mediaType, body) => {
  const fetch = async () => new Response(body, { headers: { 'Content-Type': mediaType, 'X-Request-Id': 'r' } });
  const api = documented({ fetch, async close() {} });
  await expect(api.fetch('/health/live')).rejects.toThrow('body must NOT be valid');
});

it('two problems of one status are described together', () => {
  const problems = ['same-account', 'unknown-account'] as const;
  const { responses } = describeOperation('/notes', 'get', {
    operationId: 'any',
    summary: 'Any',
    responses: {},
    problems,
  });
  expect(responses[422]).toMatchObject({ description: 'The accounts are the same. An account does not exist.' });
});

it('the document asks for the token, and names the headers of each problem', () => {
  expect(document).toMatchObject({ servers: [{ url: '/' }], security: [{ bearer: [] }] });
  const { responses } = document.components;
  const typesOf = (name: string) =>
    Object.fromEntries(
      Object.entries(responses[name]?.headers ?? {}).map(([header, { schema }]) => [header, schema.type]),
    );
  const id = { 'X-Request-Id': 'string' };
  expect(typesOf('not-found')).toEqual(id);
  expect(typesOf('unauthorized')).toEqual({ ...id, 'WWW-Authenticate': 'string' });
  expect(typesOf('method-not-allowed')).toEqual({ ...id, Allow: 'string' });
  for (const name of ['too-many-requests', 'database-unavailable']) {
    expect(typesOf(name)).toEqual({ ...id, 'Retry-After': 'integer' });
  }
});

it('no two operations have the same name', () => {
  const names = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  expect(names).toEqual([...new Set(names)]);
});

it.each<[string, v.GenericSchema, object]>([
  [
    'digits',
    v.pipe(v.string(), v.regex(/^\d{1,3}$/), v.transform(Number), v.minValue(2, 'm')),
    { type: 'integer', minimum: 2 },
  ],
  [
    'a decimal',
    v.pipe(v.string(), v.decimal(), v.transform(Number), v.minValue(0.5, 'm')),
    { type: 'string', pattern: v.DECIMAL_REGEX.source },
  ],
  ['a date', v.pipe(v.string(), v.isoDate(), v.minValue('2020-01-01', 'm')), { type: 'string', format: 'date' }],
  ['letters', v.pipe(v.string(), v.regex(/^[a-z]{2,4}$/iu, 'm')), { type: 'string', minLength: 2, maxLength: 4 }],
  ['more than letters', v.pipe(v.string(), v.regex(/^[a-z]{2}-[0-9]{3,6}$/iu, 'm')), { type: 'string' }],
  [
    'a name without the space around it',
    v.pipe(v.string(), v.trim(), v.trimStart(), v.trimEnd(), v.normalize(), v.nonEmpty('m'), v.readonly()),
    { type: 'string', minLength: 1 },
  ],
  [
    'digits if anything',
    v.optional(v.pipe(v.string(), v.regex(/^\d{1,3}$/), v.transform(Number), v.minValue(2, 'm')), '20'),
    { type: 'integer', minimum: 2, default: 20 },
  ],
  ['an id', v.pipe(v.string(), v.uuid('m'), v.brand('Id')), { type: 'string', format: 'uuid' }],
])('a text that holds %s is described as it is sent', (_, schema, described) => {
  expect(convert(schema)).toEqual({ ...described, description: 'm' });
});
