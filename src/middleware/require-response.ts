import type { MiddlewareHandler } from 'hono';

/**
 * Throws an `Error` if there is no response: Hono calls `onError`, which answers and logs, only for an `Error`, not for
 * anything else that is thrown, and not if a handler returned nothing, or something else.
 *
 * @example
 * app.use(requireResponse())
 * app.get('/things', (c) => { c.json([]) }) // 500, and the log says why
 */
export const requireResponse = (): MiddlewareHandler => {
  return async function requireResponse(c, next) {
    await next().catch((thrown: unknown) => {
      throw thrown instanceof Error ? thrown : new Error('What was thrown is not an Error.', { cause: thrown });
    });
    // Hono takes whatever is returned for the response: if a middleware returns what `next` returns, that is the context.
    const { headers, status } = c.res as Partial<Response>; // status 0: `Response.error()`, which no platform can send
    if (c.finalized && headers && status) return;
    c.res = undefined;
    throw new Error('The handler returned no response.');
  };
};
