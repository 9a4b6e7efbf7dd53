import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import type { AppEnv } from '../create-app.ts';
import { Problem } from '../problem.ts';

/**
 * Refuses bodies that are too large.
 *
 * @example
 * app.use(limitBody(64 * 1024))
 *
 * @param maxSize in bytes
 * @throws {HTTPException} 413
 * @throws {Problem} `invalid-request`, when the body breaks off
 */
export const limitBody = (maxSize: number): MiddlewareHandler<AppEnv> => {
  const limit = bodyLimit({ maxSize });
  return async function limitBody(c, next) {
    // Nobody reads what a GET brings along, and on Workers it could not be put back into the request.
    if (c.req.method === 'GET' || c.req.method === 'HEAD') return next();
    // The rest of the app comes afterwards: what it throws is not the body's.
    await limit(c, () => Promise.resolve()).catch((error: unknown) => {
      throw error instanceof HTTPException ? error : new Problem('invalid-request', { detail: 'The body broke off.' });
    });
    return next();
  };
};
