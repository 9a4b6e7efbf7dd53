import { STATUS_CODES } from 'node:http';
import type { JsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import type { Operation } from '../../src/openapi/operation.ts';
import { type ProblemName, PROBLEMS } from '../../src/problem.ts';
import { convert } from './json-schema.ts';

export interface ResponseObject {
  description: string;
  headers: Record<string, HeaderObject>;
  content?: Content;
}

export interface HeaderObject {
  description?: string;
  required: boolean;
  schema: JsonSchema;
}

export type Content = Record<string, { schema: JsonSchema }>;

const header = (description: string, type: 'string' | 'integer' = 'string'): HeaderObject => ({
  description,
  required: true,
  schema: { type },
});

/** On every response. */
const REQUEST_ID = { 'X-Request-Id': header('That of the request, if it had one.') };

const RETRY_AFTER = { 'Retry-After': header('Seconds to wait before another attempt.', 'integer') };

const PROBLEM_HEADERS: Partial<Record<ProblemName, Record<string, HeaderObject>>> = {
  unauthorized: { 'WWW-Authenticate': header('The scheme, Bearer.') },
  'method-not-allowed': { Allow: header('The methods that are supported.') },
  'too-many-requests': RETRY_AFTER,
  'database-unavailable': RETRY_AFTER,
};

/** Describes the responses with a status: the problems that have it, and what the operation declares for it. */
export function describeResponse(
  status: string | number,
  problems: readonly ProblemName[],
  { json, mediaType, headers }: Operation['responses'][number] = {},
): ResponseObject {
  const ofProblems = problems.map((name) => PROBLEM_HEADERS[name] ?? {});
  const content: Content = {};
  if (json) content['application/json'] = { schema: convert(json) };
  if (mediaType) content[mediaType] = { schema: mediaType.startsWith('text/') ? { type: 'string' } : {} };
  if (problems.length > 0) {
    const type = { enum: problems.map((name) => `urn:problem:${name}`) };
    const schema = { allOf: [{ $ref: '#/components/schemas/Problem' }, { properties: { type } }] };
    content['application/problem+json'] = { schema };
  }
  return {
    description: problems.map((name) => `${PROBLEMS[name][1]}.`).join(' ') || (STATUS_CODES[status] ?? ''),
    headers: { ...REQUEST_ID, ...(Object.assign({}, ...ofProblems) as typeof REQUEST_ID), ...describeFields(headers) },
    content,
  };
}

/** The fields of an object's schema, in the form of parameters and headers. */
export function describeFields(schema: v.GenericSchema = v.object({})): Record<string, HeaderObject> {
  // A copy, which has no name: a schema that has one becomes a reference.
  const { properties = {}, required = [] } = convert({ ...schema });
  const described = Object.entries(properties as Record<string, JsonSchema>).map(([name, field]) => {
    const { description, ...rest } = field;
    return [name, { ...(description && { description }), required: required.includes(name), schema: rest }];
  });
  return Object.fromEntries(described) as Record<string, HeaderObject>;
}
