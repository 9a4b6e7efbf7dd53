import { type JsonSchema, type OverrideActionContext, toJsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { schemas } from '../../src/openapi/operations.ts';
import { problem } from '../../src/openapi/problem.ts';

/** The schemas that have a name in the document: others refer to them. */
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
 * @throws {Error} when the schema has an action that JSON Schema cannot express and that has no message
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

/** An action's message becomes the description, also for what JSON Schema cannot express. */
function convertAction({ valibotAction, jsonSchema }: OverrideActionContext): JsonSchema | undefined {
  const { type, message, operation, requirement } = valibotAction as Action;
  if (OURS.test(type) || operation === Number) return jsonSchema;
  if (typeof message !== 'string') return undefined;
  const described = { ...jsonSchema, description: message };

  // JSON Schema's formats `time` and `date-time` want seconds and an offset, which these do not take.
  if (/^iso_(date_)?time$/.test(type) && requirement instanceof RegExp) {
    const { format: _, ...rest } = described;
    return { ...rest, pattern: requirement.source };
  }
  if (requirement instanceof RegExp && requirement.flags !== '') {
    // Other languages have no such flags. With the flag u, a class's quantifier counts code points, as `maxLength` does.
    const { pattern: _, ...rest } = described;
    const [, min, max] = /^\^\[[^\]]*\]\{(\d+),(\d+)\}\$$/.exec(requirement.source) ?? [];
    return max === undefined ? rest : { ...rest, minLength: Number(min), maxLength: Number(max) };
  }
  // Digits in a query: a number if it has bounds; a cursor stays the text that it is in `nextCursor`.
  if (type === 'min_value' && jsonSchema.pattern?.startsWith(String.raw`^\d`)) {
    return { type: 'integer', minimum: requirement as number, description: message };
  }
  if (type === 'safe_integer' && jsonSchema.pattern !== undefined) {
    return { type: 'string', pattern: jsonSchema.pattern, description: message };
  }
  return described;
}

/** The default as the schema transforms it: a number for digits. */
function convertDefault({ valibotSchema, jsonSchema }: { valibotSchema: v.GenericSchema; jsonSchema: JsonSchema }) {
  if (valibotSchema.type !== 'optional' || jsonSchema.default === undefined) return undefined;
  return { ...jsonSchema, default: v.parse(valibotSchema, undefined) as string | number };
}
