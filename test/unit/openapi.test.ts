import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, it } from 'vitest';
import { openApiDocument } from '../../scripts/openapi/document.ts';
import { createApp } from '../../src/create-app.ts';
import { apiToken } from '../token.ts';

const document = openApiDocument();

it('the document is one of OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate({ ...document })).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

it('every route of the app is an operation of the document, and the other way round', () => {
  const database = { url: 'postgresql://app:secret@db.example.com/app' };
  const { app } = createApp({ apiToken, database }, { transports: {}, sockets: 'instance' });
  const routes = app.routes
    .filter(({ method }) => method !== 'ALL') // middleware
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(new Set(operations)).toEqual(new Set(routes));
});

it('no two operations have the same name', () => {
  const names = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  expect(names).toEqual([...new Set(names)]);
});
