import type { Database } from '../src/db/database.ts';
import { addMessage } from '../src/messages/messages.ts';
import { messages } from '../src/messages/schema.ts';

/**
 * Loads demo data, once.
 * @returns whether there was anything to do
 */
export async function seedDemoData(db: Database): Promise<boolean> {
  if ((await db.$count(messages)) > 0) return false;
  await addMessage(db, 'hello');
  return true;
}

/** @returns for each kind of access, the options of a curl command */
export const examples = (api: string): [kind: string, curl: string][] => [['One-shot', `${api}/messages`]];
