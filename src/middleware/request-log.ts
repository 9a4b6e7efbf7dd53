import type { MiddlewareHandler } from 'hono';
import type { AppEnv } from '../create-app.ts';

/** Percent-encodes what speaks to a terminal or ends a line, of which JSON escapes only a part: callers choose paths and values. */
export const printable = (text: string) => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, encodeURIComponent);

/**
 * Logs one JSON line per request, with what it cost in the database and, as `failures`, what failed there, even if another
 * try, or the primary instead of a replica, answered after all: nothing else reports those.
 *
 * @example
 * app.use(requestLog())
 * // {"level":"info","requestId":"…","method":"GET","path":"/accounts","status":200,"ms":3,"transports":["http"],"roundTrips":1}
 */
export const requestLog = (): MiddlewareHandler<AppEnv> => {
  return async function requestLog(c, next) {
    const start = performance.now();
    await next();
    const queries = c.get('queries') ?? [];
    const failures = queries.flatMap(({ error }) => error ?? []);
    console.log(
      JSON.stringify({
        level: 'info',
        requestId: c.get('requestId'),
        method: c.req.method,
        path: printable(c.req.path),
        status: c.res.status,
        ms: Math.round(performance.now() - start),
        transports: [...new Set(queries.map(({ transport }) => transport))],
        roundTrips: queries.reduce((sum, { roundTrips }) => sum + roundTrips, 0),
        ...(failures.length > 0 && { failures }),
      }),
    );
  };
};
