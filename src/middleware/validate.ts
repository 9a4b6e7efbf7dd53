import { sValidator } from '@hono/standard-validator';
import type { ValidationTargets } from 'hono';
import * as v from 'valibot';
import { Problem } from '../problem.ts';

/**
 * Validates a part of the request; `c.req.valid(target)` is what the schema made of it.
 *
 * @example
 * app.post('/things', validate('json', v.object({ name: v.string() })), (c) => c.json(c.req.valid('json')))
 *
 * @example
 * // In a query, what comes once is text, and a list only what comes more than once.
 * validate('query', v.object({ tag: v.union([v.array(tag), tag]) }))
 *
 * @throws {Problem} `invalid-request`, with a JSON pointer to each error; `unsupported-media-type` for a body that is not JSON
 */
export const validate = <Target extends keyof ValidationTargets, TSchema extends v.GenericSchema>(
  target: Target,
  schema: TSchema,
) =>
  sValidator(target, v.config(schema, { abortPipeEarly: true }), (result, c) => {
    // Hono reads no other body: all its fields would be missing, without an error if the schema requires none.
    if (target === 'json' && !/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(c.req.header('Content-Type') ?? '')) {
      throw new Problem('unsupported-media-type', { detail: "The request's Content-Type must be application/json." });
    }
    if (result.success) return;
    throw new Problem('invalid-request', {
      detail: `The request's ${PARTS[result.target] ?? result.target} is invalid.`,
      errors: result.error.map(({ path = [], message }) => ({
        pointer: path.map((part) => `/${referenceToken(typeof part === 'object' ? part.key : part)}`).join(''),
        detail: message,
      })),
    });
  });

const PARTS: Partial<Record<keyof ValidationTargets, string>> = { json: 'body', param: 'path' };

/** A name in a JSON pointer (RFC 6901, section 3). */
const referenceToken = (name: PropertyKey) => String(name).replaceAll('~', '~0').replaceAll('/', '~1');
