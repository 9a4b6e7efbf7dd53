import { Hono } from 'hono';
import { bearerAuth } from 'hono/bearer-auth';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { requestId } from 'hono/request-id';
import type { Config } from './config.ts';
import {
  createDatabase,
  type Database,
  type DatabaseOptions,
  type DatabaseUrls,
  type QueryEvent,
} from './db/database.ts';
import * as ledger from './ledger/schema.ts';
import { type DatabaseMiddlewareOptions, requestDatabase } from './middleware/database.ts';
import { limitBody } from './middleware/limit-body.ts';
import { rateLimit, type RateLimitOptions } from './middleware/rate-limit.ts';
import { requestLog } from './middleware/request-log.ts';
import { requireResponse } from './middleware/require-response.ts';
import { answerProblem, Problem } from './problem.ts';
import { accountRoutes } from './routes/accounts.ts';
import { healthRoutes, readyRoute } from './routes/health.ts';
import { reconciliationRoutes } from './routes/reconciliations.ts';
import { statementRoutes } from './routes/statements.ts';
import { transferRoutes } from './routes/transfers.ts';

/**
 * The tables of every domain: `db.query` knows only those listed here. A function that uses it takes a
 * `Queryable<typeof schema>`.
 */
export const schema = { ...ledger };

export type AppDatabase = Database<typeof schema>;

export interface AppEnv {
  Variables: {
    requestId: string;
    /** Who calls: idempotency keys belong to a caller. */
    caller: string;
    db: AppDatabase;
    /** This request's exchanges with the database so far. */
    queries: QueryEvent[];
  };
}

/** What the app needs to know: a `Config`, or one whose URLs are looked up when they are needed. */
export type AppConfig = Pick<Config, 'apiToken'> &
  Partial<Pick<Config, 'previousApiToken'>> & { database: DatabaseUrls };

/** What only the platform knows. */
export type Platform = Pick<DatabaseOptions<typeof schema>, 'transports' | 'sockets'> &
  Partial<Pick<DatabaseOptions<typeof schema>, 'maxSockets' | 'timeouts' | 'retry' | 'onWarning'>> &
  Pick<DatabaseMiddlewareOptions, 'waitUntil' | 'onQuery'> & {
    /** Default: no limit. */
    rateLimit?: RateLimitOptions | undefined;
  };

/** Bytes; the largest valid request is far smaller. */
const MAX_BODY_BYTES = 64 * 1024;

/** Milliseconds: less than the 5 s that load balancers wait for a health check, enough for a suspended database to wake. */
const READY_MS = 4_000;

/** There is one token, so there is one caller. With user accounts, set this to the owner of the token. */
const CALLER = 'api-token';

/**
 * The API, on any platform. Reads no environment and opens nothing.
 * @returns the app, and its database, for whatever shuts down the instance
 */
export function createApp(
  { apiToken, previousApiToken = apiToken, database: urls }: AppConfig,
  { waitUntil, onQuery, rateLimit: limits, ...platform }: Platform,
) {
  const database = createDatabase({ ...urls, ...platform, schema });
  const access = { database, waitUntil, onQuery };
  const base = new Hono<AppEnv>();
  const app = base
    .onError(answerProblem)
    .notFound((c) => answerProblem(new Problem('not-found', { detail: 'No route matches this path.' }), c))
    .use(requestId())
    .use(async (c, next) => {
      await next();
      const headers = {
        // A route may set another value. Without any, a CDN may cache what it likes, such as /health/ready for a day.
        'Cache-Control': c.res.headers.get('Cache-Control') ?? 'no-store',
        'X-Content-Type-Options': 'nosniff', // a browser must not take what callers have written for a page or a script
        // Set already, but for a `Response` that a route created itself, for an earlier request perhaps.
        'X-Request-Id': c.get('requestId'),
      };
      for (const [name, value] of Object.entries(headers)) {
        if (c.res.headers.get(name) === value) continue;
        try {
          c.res.headers.set(name, value);
        } catch {
          c.header(name, value); // of what `fetch` has answered; it copies the response, which is slow in Node
        }
      }
    })
    .use(requestLog())
    .use(
      methodNotAllowed({
        app: base,
        onMethodNotAllowed: (c, methods) =>
          answerProblem(new Problem('method-not-allowed', { headers: { Allow: methods.join(', ') } }), c),
      }),
    )
    .use(requireResponse())
    // Depends on nothing else: not on what counts requests, either.
    .route('/health', healthRoutes)
    .use(limits ? rateLimit(limits) : (_, next) => next())
    .use('/health/ready', requestDatabase({ ...access, signal: () => AbortSignal.timeout(READY_MS) }))
    .route('/health', readyRoute(platform.sockets === 'instance'))
    .use(requestDatabase(access))
    // Hono compares the tokens themselves, too, in constant time: to hash both first would only cost CPU time.
    .use(bearerAuth({ token: [apiToken, previousApiToken], realm: 'api', hashFunction: (token: string) => token }))
    .use((c, next) => {
      c.set('caller', CALLER);
      return next();
    })
    .use(limitBody(MAX_BODY_BYTES))
    .route('/accounts', accountRoutes)
    .route('/accounts', statementRoutes)
    .route('/transfers', transferRoutes)
    .route('/reconciliations', reconciliationRoutes);
  return { app, database };
}

/** For a typed client: `hc<App>(url)` from `hono/client`. */
export type App = ReturnType<typeof createApp>['app'];
