import * as v from 'valibot';

/** Problem details (RFC 9457), as `src/problem.ts` makes them. */
export const problem = v.object({
  type: v.string(),
  title: v.string(),
  status: v.pipe(v.number(), v.integer()),
  detail: v.optional(v.string()),
  instance: v.optional(v.pipe(v.string(), v.description('Identifies the request in the log.'))),
  errors: v.optional(v.array(v.object({ pointer: v.string(), detail: v.string() }))),
});
