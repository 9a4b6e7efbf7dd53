import type { Context, MiddlewareHandler } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { Problem } from '../problem.ts';

export interface RateLimitOptions {
  /** Counts a request for `key`, and tells whether it may proceed. Cloudflare's binding has this shape. */
  limiter: { limit: (options: { key: string }) => Promise<{ success: boolean }> };
  /** What identifies a caller: requests with the same key are counted together. */
  key: (c: Context) => string;
  /** Seconds after which a refused caller may try again. */
  period: number;
}

/**
 * Refuses callers that send too many requests.
 *
 * @example
 * app.use(rateLimit({ limiter: env.RATE_LIMITER, key: (c) => c.req.header('CF-Connecting-IP') ?? '', period: 60 }))
 *
 * @throws {Problem} `too-many-requests`
 */
export const rateLimit = ({ limiter, key, period }: RateLimitOptions): MiddlewareHandler<AppEnv> => {
  return async function rateLimit(c, next) {
    const { success } = await limiter.limit({ key: key(c) });
    if (!success) throw new Problem('too-many-requests', { headers: { 'Retry-After': String(period) } });
    await next();
  };
};
