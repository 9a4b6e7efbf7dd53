import type { Context, MiddlewareHandler } from 'hono';
import type { AppEnv, AppDatabase } from '../create-app.ts';
import type { QueryEvent } from '../db/database.ts';

export interface DatabaseMiddlewareOptions {
  database: AppDatabase;
  /** The platform's way to keep an instance alive after the response. */
  waitUntil?: ((c: Context, promise: Promise<unknown>) => void) | undefined;
  /** Makes the signal that stops all that a request is still doing in the database. Default: none. */
  signal?: ((c: Context) => AbortSignal) | undefined;
  /** Called for every exchange with the database, in any request. */
  onQuery?: ((event: QueryEvent) => void) | undefined;
}

/**
 * Gives each request its own view of the database as `c.var.db`, and closes it afterwards.
 *
 * @example
 * app.use(requestDatabase({ database }))
 * app.get('/things', async (c) => c.json(await c.var.db.select().from(things)))
 */
export const requestDatabase = ({
  database,
  waitUntil,
  signal,
  onQuery,
}: DatabaseMiddlewareOptions): MiddlewareHandler<AppEnv> => {
  return async function requestDatabase(c, next) {
    const queries: AppEnv['Variables']['queries'] = [];
    c.set('queries', queries);
    const db = database.forRequest({
      waitUntil: waitUntil && ((promise) => waitUntil(c, promise)),
      signal: signal?.(c),
      onQuery: (event) => {
        queries.push(event);
        onQuery?.(event);
      },
    });
    c.set('db', db);
    try {
      await next();
    } finally {
      // Not awaited: a connection that a streamed body still uses is closed when the body is done with it.
      void db.close();
    }
  };
};
