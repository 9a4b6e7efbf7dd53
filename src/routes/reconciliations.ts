import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { reconcile } from '../ledger/reconciliation.ts';
import { Problem } from '../problem.ts';

/** One at a time, across all connections: an advisory lock in a session over a WebSocket. */
export const reconciliationRoutes = new Hono<AppEnv>().post('/', async (c) => {
  const reconciliation = await reconcile(c.var.db);
  if (!reconciliation) throw new Problem('reconciliation-in-progress');
  return c.json(reconciliation);
});
