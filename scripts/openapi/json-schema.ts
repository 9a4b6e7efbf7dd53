import { type JsonSchema, type OverrideActionContext, toJsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { schemas } from '../../src/openapi/operations.ts';
import { problem } from '../../src/openapi/problem.ts';

/** What has a name in the document: other schemas refer to it. */
const definitions = { ...schemas, Problem: problem };

const CONFIG = {
  target: 'draft-2020-12',
  overrideRef: ({ referenceId }: { referenceId: string }) => `#/components/schemas/${referenceId}`,
  overrideAction: convertAction,
  overrideSchema: convertDefault,
} as const;

export const convertDefinitions = (): Record<string, JsonSchema> => toJsonSchemaDefs(definitions, CONFIG);

/**
 * The JSON Schema of what goes over the wire, before it is transformed.
 * @throws {Error} when the schema has an action without a message that JSON Schema has no word for
 */
export function convert(schema: v.GenericSchema): JsonSchema {
  const { $schema: _, $defs: __, ...converted } = toJsonSchema(schema, { ...CONFIG, definitions });
  return converted;
}

interface Action {
  type: string;
  message?: unknown;
  operation?: unknown;
  requirement?: unknown;
}

/** What a client need not do itself. */
const OURS = /^(to_(lower|upper)_case|trim(_start|_end)?|normalize|brand|readonly)$/;

/** What the action's message says is the description, also of what JSON Schema has no word for. */
function convertAction({ valibotAction, jsonSchema }: OverrideActionContext): JsonSchema | undefined {
  const { type, message, operation, requirement } = valibotAction as Action;
  if (OURS.test(type) || operation === Number) return jsonSchema;
  if (typeof message !== 'string') return undefined;
  const described = { ...jsonSchema, description: message };

  if (requirement instanceof RegExp && requirement.flags !== '') {
    // Other languages have no such flags. With the flag u the quantifier of a class counts what `maxLength` does, code points.
    const { pattern: _, ...rest } = described;
    const [, min, max] = /^\^\[[^\]]*\]\{(\d+),(\d+)\}\$$/.exec(requirement.source) ?? [];
    return max === undefined ? rest : { ...rest, minLength: Number(min), maxLength: Number(max) };
  }
  // Digits in a query: a number where it has bounds; a cursor stays the text that it is in `nextCursor`.
  if (type === 'min_value' && jsonSchema.pattern?.startsWith(String.raw`^\d`)) {
    return { type: 'integer', minimum: requirement as number, description: message };
  }
  if (type === 'safe_integer' && jsonSchema.pattern !== undefined) {
    return { type: 'string', pattern: jsonSchema.pattern, description: message };
  }
  return described;
}

/** The default as the schema makes it, a number for digits. */
function convertDefault({ valibotSchema, jsonSchema }: { valibotSchema: v.GenericSchema; jsonSchema: JsonSchema }) {
  if (valibotSchema.type !== 'optional' || jsonSchema.default === undefined) return undefined;
  return { ...jsonSchema, default: v.parse(valibotSchema, undefined) as string | number };
}
