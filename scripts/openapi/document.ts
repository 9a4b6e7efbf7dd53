import { readFileSync } from 'node:fs';
import type { JsonSchema } from '@valibot/to-json-schema';
import type { GenericSchema } from 'valibot';
import type { Operation } from '../../src/openapi/operation.ts';
import { operations } from '../../src/openapi/operations.ts';
import { type ProblemName, PROBLEMS } from '../../src/problem.ts';
import { convert, convertDefinitions } from './json-schema.ts';
import { type Content, describeFields, describeResponse, type HeaderObject, type ResponseObject } from './response.ts';

/** The parts of a document that this one uses. */
export interface OpenApiDocument {
  openapi: string;
  info: { title: string; version: string };
  servers: { url: string }[];
  security: object[];
  paths: Record<string, Record<string, OperationObject>>;
  components: {
    securitySchemes: Record<string, object>;
    schemas: Record<string, JsonSchema>;
    /** One for each problem, by its name. */
    responses: Record<string, ResponseObject>;
  };
}

export interface OperationObject {
  operationId: string;
  summary: string;
  tags: string[];
  security?: object[];
  parameters: ParameterObject[];
  requestBody?: { required: boolean; content: Content };
  responses: Record<string, ResponseObject | { $ref: string }>;
}

interface ParameterObject extends HeaderObject {
  name: string;
  in: 'path' | 'query' | 'header';
}

/**
 * The OpenAPI 3.1 document of the API.
 * @param server its URL
 */
export function openApiDocument(server = '/'): OpenApiDocument {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { name, version } = JSON.parse(manifest) as { name: string; version: string };
  const problems = Object.keys(PROBLEMS) as ProblemName[];
  return {
    openapi: '3.1.1',
    info: { title: name, version },
    servers: [{ url: server }],
    security: [{ bearer: [] }],
    paths: Object.fromEntries(
      Object.entries<Record<string, Operation>>(operations).map(([path, methods]) => [
        templateOf(path),
        Object.fromEntries(
          Object.entries(methods).map(([method, operation]) => {
            const name = method.replace('$', '');
            return [name, describeOperation(path, name, operation)];
          }),
        ),
      ]),
    ),
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: convertDefinitions(),
      responses: Object.fromEntries(problems.map((name) => [name, describeResponse(PROBLEMS[name][0], [name])])),
    },
  };
}

/** A route's path as OpenAPI writes it, which has no word for what a parameter must look like, as in `/notes/:id{[0-9]+}`. */
export const templateOf = (path: string) => path.replaceAll(/:(\w+)(\{.*?\}(?=\/|$))?/g, '{$1}');

/** @throws {Error} that names the operation, when one of its schemas cannot be described */
export function describeOperation(path: string, method: string, operation: Operation): OperationObject {
  try {
    return describe(path, method, operation);
  } catch (error) {
    throw new Error(`${operation.operationId} in src/openapi/operations.ts: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function describe(path: string, method: string, operation: Operation): OperationObject {
  const { operationId, summary, open, param, query, header: headers, json } = operation;
  return {
    operationId,
    summary,
    tags: [path.split('/')[1] ?? ''],
    ...(open && { security: [] }),
    parameters: [...parameters('path', param), ...parameters('query', query), ...parameters('header', headers)],
    ...(json && { requestBody: { required: true, content: { 'application/json': { schema: convert(json) } } } }),
    responses: describeResponses(method, operation),
  };
}

function describeResponses(method: string, operation: Operation): OperationObject['responses'] {
  const problems = Object.groupBy(problemsOf(method, operation), (name) => String(PROBLEMS[name][0]));
  const statuses = new Set([...Object.keys(operation.responses), ...Object.keys(problems)]);
  const responses = [...statuses].map((status) => {
    const [own, names = []] = [operation.responses[Number(status)], problems[status]];
    const isShared = own === undefined && names.length === 1;
    return [status, isShared ? { $ref: `#/components/responses/${names[0]}` } : describeResponse(status, names, own)];
  });
  return Object.fromEntries(responses) as OperationObject['responses'];
}

/** An operation's own problems, and those that follow from what it accepts. */
function problemsOf(method: string, { open, problems = [], ...operation }: Operation): ProblemName[] {
  const names: ProblemName[] = [...problems, 'too-many-requests', 'internal-error'];
  if (!open) names.push('unauthorized', 'database-unavailable');
  const isRead = method === 'get';
  if (!isRead) names.push('payload-too-large');
  if (operation.json) names.push('unsupported-media-type');
  if (!isRead || operation.param || operation.query || operation.header) names.push('invalid-request');
  return [...new Set(names)];
}

function parameters(location: ParameterObject['in'], schema: GenericSchema | undefined): ParameterObject[] {
  return Object.entries(describeFields(schema)).map(([name, field]) => ({
    // Schemas name headers in lower case, as Hono does.
    name: location === 'header' ? name.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase()) : name,
    in: location,
    ...field,
  }));
}
