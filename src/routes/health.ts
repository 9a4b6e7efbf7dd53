import { sql } from 'drizzle-orm';
import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';

/** Open to anyone: for load balancers and uptime checks. */
export const healthRoutes = new Hono<AppEnv>()
  /** Whether the app runs. Depends on nothing else. */
  .get('/live', (c) => c.json({ status: 'live' }))

  /** Whether the database answers over each transport, within seconds. Wakes a database that is suspended. */
  .get('/ready', async (c) => {
    await Promise.all([c.var.db.execute(sql`select 1`), c.var.db.transaction((tx) => tx.execute(sql`select 1`))]);
    return c.json({
      status: 'ready',
      transports: [...new Set(c.var.queries.map(({ transport }) => transport))].toSorted(),
    });
  });
