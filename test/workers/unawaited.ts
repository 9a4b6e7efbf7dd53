/** The Worker that is deployed, with a route that does not wait for what it does in the database. */
import { sql } from 'drizzle-orm';
import app from '../../functions/worker.ts';

export default app.get('/unawaited', (c) => {
  void c.var.db.transaction((tx) => tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('unawaited', 0))`));
  return c.text('done');
});
