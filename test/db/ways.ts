import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import { expect } from 'vitest';
import { DatabaseError } from '../../src/db/error.ts';
import { neonHttp } from '../../src/db/http.ts';
import { tcp } from '../../src/db/tcp.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';

/** The same behaviour is asked of both ways to the database; only what travels differs. */
export const WAYS = {
  'the Neon driver': {
    transports: { http: neonHttp(), websocket: neonWebSocket() },
    oneShot: 'http',
    socket: 'websocket',
    reaches: 'gateway',
  },
  tcp: { transports: { tcp: tcp() }, oneShot: 'tcp', socket: 'tcp', reaches: 'PostgreSQL' },
} as const;

export const notes = pgTable('notes', { id: integer('id').primaryKey(), text: text('text').notNull() });

/** As the owner makes it; the application's role may read and write it. */
export const CREATE_NOTES = 'create table notes (id int primary key, text text not null); grant all on notes to app';

/** The failure of `work`, which has to fail, and with a `DatabaseError`. */
export async function failure(work: PromiseLike<unknown>): Promise<DatabaseError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(DatabaseError);
  return error as DatabaseError;
}
