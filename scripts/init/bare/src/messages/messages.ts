import { desc, lt } from 'drizzle-orm';
import { v7 as uuidv7 } from 'uuid';
import type { Queryable } from '../db/database.ts';
import { type Page, toPage } from '../page.ts';
import { messages } from './schema.ts';

export type Message = typeof messages.$inferSelect;

export async function addMessage(db: Queryable, text: string): Promise<Message> {
  // Version 7: ids sort by creation time, the order in which messages are listed.
  const [message] = await db.insert(messages).values({ id: uuidv7(), text }).returning();
  if (!message) throw new Error('INSERT … RETURNING returned no row');
  return message;
}

/** Messages, the latest first, starting after `cursor`. */
export async function listMessages(
  db: Pick<Queryable, 'select'>,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<Page<Message, string>> {
  const rows = await db
    .select()
    .from(messages)
    .where(cursor === undefined ? undefined : lt(messages.id, cursor))
    .orderBy(desc(messages.id))
    .limit(limit + 1);
  return toPage(rows, limit, ({ id }) => id);
}
