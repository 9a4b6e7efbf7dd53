import { Validator } from '@seriousme/openapi-schema-validator';
import * as v from 'valibot';
import { expect, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { describeOperation, openApiDocument } from '../../scripts/openapi/document.ts';
import { convert } from '../../scripts/openapi/json-schema.ts';
import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';

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
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(new Set(operations)).toEqual(new Set(routes));
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
  ['more than letters', v.pipe(v.string(), v.regex(/^[a-z]{2}-\d{3,6}$/iu, 'm')), { type: 'string' }],
  ['an id', v.pipe(v.string(), v.uuid('m'), v.brand('Id')), { type: 'string', format: 'uuid' }],
])('a text that holds %s is described as it is sent', (_, schema, described) => {
  expect(convert(schema)).toEqual({ ...described, description: 'm' });
});
