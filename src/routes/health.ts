import { sql } from 'drizzle-orm';
import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';

/** Open to anyone: for load balancers and uptime checks. */
export const healthRoutes = new Hono<AppEnv>()
  /** Whether the app runs. Depends on nothing else. */
  .get('/live', (c) => c.json({ status: 'live' }));

/**
 * Whether the database answers over each transport, within seconds. Wakes a database that is suspended.
 * @param shared whether requests that come at once share one check: a flood of them, which needs no token, would otherwise take
 *   the connections that everyone else waits for. Not on Workers, where no request can wait for what another one does
 */
export const readyRoute = (shared: boolean) => {
  let underWay: ReturnType<typeof check> | undefined;
  return new Hono<AppEnv>().get('/ready', async (c) => {
    const transports = await (shared
      ? (underWay ??= check(c.var).finally(() => (underWay = undefined)))
      : check(c.var));
    return c.json({ status: 'ready', transports });
  });
};

async function check({ db, queries }: Pick<AppEnv['Variables'], 'db' | 'queries'>) {
  await Promise.all([db.execute(sql`select 1`), db.transaction((tx) => tx.execute(sql`select 1`))]);
  return [...new Set(queries.map(({ transport }) => transport))].toSorted();
}
