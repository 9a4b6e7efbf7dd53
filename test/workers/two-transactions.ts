/** A Worker whose requests run two transactions each, or many, and tell which server process ran them. */
import { env } from 'cloudflare:workers';
import { sql } from 'drizzle-orm';
import { Hono } from 'hono';
import { type AppEnv, schema } from '../../src/create-app.ts';
import { createDatabase } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { requestDatabase } from '../../src/middleware/database.ts';

const database = createDatabase({
  url: String(env['DATABASE_URL']),
  schema,
  transports: { http: neonHttp(), websocket: neonWebSocket() },
  sockets: 'request',
});

const backend = (db: AppEnv['Variables']['db']) =>
  db.transaction(async (tx) => {
    const { rows } = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
    return `${rows[0]?.pid}\n`;
  });

export default new Hono<AppEnv>()
  .use(requestDatabase({ database, waitUntil: (c, promise) => c.executionCtx.waitUntil(promise) }))
  .get('/', async (c) => c.text((await backend(c.var.db)) + (await backend(c.var.db))))
  .get('/at-once', async (c) =>
    c.text((await Promise.all(Array.from({ length: 8 }, () => backend(c.var.db)))).join('')),
  )
  .get('/of-no-request', async (c) => c.text((await backend(database)) + (await backend(database))))
  .get('/streamed', (c) => {
    const { readable, writable } = new TransformStream<string, string>();
    const write = async () => {
      const writer = writable.getWriter();
      for (let i = 0; i < 2; i++) await writer.write(await backend(c.var.db));
      await writer.close();
    };
    c.executionCtx.waitUntil(write());
    return c.body(readable.pipeThrough(new TextEncoderStream()));
  });
