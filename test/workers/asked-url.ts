/** A Worker that has to ask for its database's URL, and has requests that end meanwhile. */
import { env } from 'cloudflare:workers';
import { sql } from 'drizzle-orm';
import { Hono } from 'hono';
import { createDatabase } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';

const database = createDatabase({
  url: async () => (await fetch(String(env['DATABASE_URL']))).text(),
  schema: {},
  transports: { http: neonHttp() },
  sockets: 'request',
  timeouts: { operationMs: 10_000 },
});

const one = () => database.forRequest({}).execute(sql`select 1 as one`);

export default new Hono()
  .get('/', async (c) => c.json((await one()).rows))
  .get('/unawaited', async (c) => {
    one().catch(() => {});
    return c.text('done');
  });
