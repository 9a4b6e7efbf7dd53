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
    // Nothing reads the body of a GET, and on Workers it could not be put back into the request.
    if (c.req.method === 'GET' || c.req.method === 'HEAD') return next();
    // Hono's limit also trusts a Content-Length, but reads `body` first, for which @hono/node-server creates a stream and a
    // `Request`: a third of the CPU time of a request that fails its validation. And what is left of a body that such a stream
    // has begun, it does not discard: it closes the connection half a second later, and loses the requests that came meanwhile.
    const length = Number(c.req.header('Content-Length'));
    if (c.req.header('Transfer-Encoding') === undefined) {
      if (length <= maxSize) return next();
      if (length > maxSize) throw new HTTPException(413);
    }
    // The rest of the app runs afterwards: what it throws is no failure of the body.
    await limit(c, () => Promise.resolve()).catch((error: unknown) => {
      throw error instanceof HTTPException ? error : new Problem('invalid-request', { detail: 'The body broke off.' });
    });
    return next();
  };
};
