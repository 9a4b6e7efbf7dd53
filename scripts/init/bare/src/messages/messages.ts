import { desc } from 'drizzle-orm';
import type { Queryable } from '../db/database.ts';
import { messages } from './schema.ts';

export type Message = typeof messages.$inferSelect;

export async function addMessage(db: Queryable, text: string): Promise<Message> {
  const [message] = await db.insert(messages).values({ text }).returning();
  if (!message) throw new Error('INSERT … RETURNING returned no row');
  return message;
}

export const latestMessages = (db: Queryable): Promise<Message[]> =>
  db.select().from(messages).orderBy(desc(messages.createdAt)).limit(20);
