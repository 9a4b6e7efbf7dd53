/** A Worker whose requests run a transaction each over SCRAM: `/pipelined`, or anything else. */
import { env } from 'cloudflare:workers';
import { sql } from 'drizzle-orm';
import { createDatabase } from '../../src/db/database.ts';
import { DatabaseError } from '../../src/db/error.ts';
import { fastClient } from '../../src/db/fast/client.ts';
import { pipelinedClient } from '../../src/db/fast/pipelined.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';

const open = (Client: ReturnType<typeof fastClient>) =>
  createDatabase({
    url: String(env['DATABASE_URL']),
    schema: {},
    transports: { http: neonHttp(), websocket: neonWebSocket({ Client }) },
    sockets: 'request',
  });

const databases = { '/unpipelined': open(fastClient()), '/pipelined': open(pipelinedClient()) };

export default {
  async fetch(request: Request, _env: unknown, context: { waitUntil(promise: Promise<unknown>): void }) {
    const { pathname } = new URL(request.url);
    const database = pathname === '/pipelined' ? databases['/pipelined'] : databases['/unpipelined'];
    const db = database.forRequest({ waitUntil: (promise) => context.waitUntil(promise) });
    try {
      const { rows } = await db.transaction((tx) => tx.execute<{ role: string }>(sql`select current_user as role`));
      return Response.json(rows);
    } catch (error) {
      return Response.json({ kind: error instanceof DatabaseError ? error.kind : String(error) }, { status: 500 });
    } finally {
      void db.close();
    }
  },
};
