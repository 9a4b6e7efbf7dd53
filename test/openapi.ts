import type { JsonSchema } from '@valibot/to-json-schema';
import { Ajv2020, type SchemaObject } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { expect } from 'vitest';
import { openApiDocument, type OpenApiDocument, type OperationObject } from '../scripts/openapi/document.ts';
import type { ResponseObject } from '../scripts/openapi/response.ts';
import type { Target } from './contract.ts';

/** As it is printed, but that objects hold nothing else than it says: what is not documented fails, too. */
const document = JSON.parse(
  JSON.stringify(openApiDocument()).replaceAll('"#/components/schemas/', '"'),
  (_, value: object | null) => {
    const isObject = value !== null && Object.hasOwn(value, 'properties') && Object.hasOwn(value, 'required');
    return isObject ? { ...value, additionalProperties: false } : value;
  },
) as OpenApiDocument;

const ajv = new Ajv2020({ allErrors: true, strictTypes: false });
formats.default(ajv);
ajv.addSchema(Object.entries(document.components.schemas).map(([$id, schema]) => ({ ...schema, $id })));

type Described = OperationObject['responses'][string];

/** Of two that match, OpenAPI takes the one with fewer parameters. */
const routes = Object.entries(document.paths)
  .toSorted(([one], [other]) => one.split('{').length - other.split('{').length)
  .map(([path, operations]) => ({
    pattern: new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
    operations,
  }));

/** Those that any response is said to have. */
const HEADERS = new Set(
  routes
    .flatMap(({ operations }) => Object.values(operations).flatMap(({ responses }) => Object.values(responses)))
    .concat(Object.values(document.components.responses))
    .flatMap((described) => Object.keys(resolve(described).headers)),
);

/** The API, with each of its answers, and the request that led to it, held against the OpenAPI document. */
export const documented = (target: Target): Target => ({
  ...target,
  async fetch(path, init) {
    const response = await target.fetch(path, init);
    const request = new Request(new URL(path, 'http://localhost'), init);
    const differences = await compare(request, response.clone());
    expect(differences, `${request.method} ${path}, answered ${response.status}`).toEqual([]);
    return response;
  },
});

/** @returns what is not as the document says */
async function compare(request: Request, response: Response): Promise<string[]> {
  const [sent, answered] = await Promise.all([request.text(), response.text()]);
  // Not NDJSON: each of its lines is JSON, but not all of them together.
  const isJson = answered !== '' && /[/+]json\b/.test(response.headers.get('Content-Type') ?? '');
  const body: unknown = isJson ? JSON.parse(answered) : answered;
  const { type = '', errors } = { ...(isJson ? (body as { type?: string; errors?: object[] } | null) : undefined) };
  const { pathname } = new URL(request.url);
  const method = request.method.toLowerCase();
  const route = routes.find(({ pattern, operations }) => pattern.test(pathname) && method in operations);
  const operation = route?.operations[method];
  if (!operation) return compareResponse(response, body, { $ref: type.replace('urn:problem:', '/') });

  const described = operation.responses[response.status];
  if (!described) return ['the status'];
  const differences = compareResponse(response, body, described);
  const asked = () => compareRequest(request, sent, operation, route?.pattern.exec(pathname)?.groups);
  if (response.ok) {
    differences.push(...asked());
    if (!request.headers.has('Authorization') && operation.security?.length !== 0) differences.push('no token');
  }
  // What the schemas cannot refuse: NUL and half a surrogate pair, which are escaped in JSON, and what was not UTF-8.
  if (errors && !/\\u|\ufffd/.test(sent) && asked().length === 0) differences.push('what was refused');
  return differences;
}

function compareResponse({ headers }: Response, body: unknown, described: Described): string[] {
  const { headers: documented, content = {} } = resolve(described);
  const mediaType = headers.get('Content-Type')?.replace(/;.*/, '');
  const isBodyMissing = mediaType === undefined && Object.keys(content).length > 0;
  const differences = isBodyMissing ? ['the body'] : [];
  if (mediaType !== undefined) differences.push(...errorsOf('body', content[mediaType]?.schema ?? { not: {} }, body));
  for (const name of HEADERS) {
    if (headers.has(name) ? !documented[name] : documented[name]?.required) differences.push(name);
  }
  return differences;
}

export function compareRequest(
  { url, headers }: Request,
  body: string,
  { parameters, requestBody }: OperationObject,
  path: Record<string, string> = {},
): string[] {
  const query = new URL(url).searchParams;
  const names = new Set(parameters.flatMap(({ name, in: place }) => (place === 'query' ? [name] : [])));
  const differences = [...query.keys()].filter((name) => !names.has(name));
  for (const { name, in: place, required, schema } of parameters) {
    const values = { path: [path[name]], query: query.getAll(name), header: [headers.get(name)] }[place];
    const given = values.filter((value) => value !== undefined && value !== null);
    const { type } = (schema.items ?? schema) as JsonSchema;
    const read = given.map((value) => (type === 'integer' ? Number(value) : value));
    // As Hono passes it on: a list only where it comes more than once.
    if (given.length > 0) differences.push(...errorsOf(name, schema, given.length > 1 ? read : read[0]));
    else if (required) differences.push(name);
  }
  const { schema } = requestBody?.content['application/json'] ?? {};
  if (schema) differences.push(...errorsOf('body', schema, JSON.parse(body)));
  return differences;
}

function errorsOf(what: string, schema: JsonSchema, value: unknown): string[] {
  return ajv.validate(schema as SchemaObject, value) ? [] : [ajv.errorsText(ajv.errors, { dataVar: what })];
}

function resolve(described: Described): ResponseObject {
  if (!('$ref' in described)) return described;
  const name = described.$ref.replace(/.*\//, '');
  return document.components.responses[name] ?? { description: `no problem ${name}`, headers: {} };
}
