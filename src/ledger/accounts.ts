import { and, asc, eq, gt } from 'drizzle-orm';
import { v7 as uuidv7 } from 'uuid';
import type { Database, Queryable } from '../db/database.ts';
import { type Page, toPage } from '../page.ts';
import { accounts, entries } from './schema.ts';

export type Account = Omit<typeof accounts.$inferSelect, 'sequence'>;

export interface Statement extends Page<StatementEntry, number> {
  account: Account;
  /** The balance before the first entry of this page. */
  openingBalance: number;
  /** The balance after the last entry of this page. */
  closingBalance: number;
}

export type StatementEntry = Omit<typeof entries.$inferSelect, 'accountId'>;

const account = {
  id: accounts.id,
  name: accounts.name,
  currency: accounts.currency,
  kind: accounts.kind,
  balance: accounts.balance,
  createdAt: accounts.createdAt,
};

const statementEntry = {
  sequence: entries.sequence,
  transferId: entries.transferId,
  amount: entries.amount,
  balanceAfter: entries.balanceAfter,
  createdAt: entries.createdAt,
};

/** Opens an account with a balance of zero. */
export async function createAccount(
  db: Queryable,
  values: Pick<Account, 'name' | 'currency' | 'kind'>,
): Promise<Account> {
  // Version 7: ids sort by creation time, the order in which accounts are listed.
  const [created] = await db
    .insert(accounts)
    .values({ ...values, id: uuidv7() })
    .returning(account);
  if (!created) throw new Error('INSERT … RETURNING returned no row');
  return created;
}

export async function getAccount(db: Queryable, id: string): Promise<Account | undefined> {
  const [found] = await db.select(account).from(accounts).where(eq(accounts.id, id));
  return found;
}

/** Accounts in order of id, starting after `cursor`. */
export async function listAccounts(
  db: Pick<Queryable, 'select'>,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<Page<Account, string>> {
  const rows = await db
    .select(account)
    .from(accounts)
    .where(cursor === undefined ? undefined : gt(accounts.id, cursor))
    .orderBy(asc(accounts.id))
    .limit(limit + 1);
  return toPage(rows, limit, ({ id }) => id);
}

/**
 * A page of an account's entries with the balances around them, all from one snapshot.
 * @param cursor the sequence after which the page begins
 */
export async function getStatement(
  db: Pick<Database, 'batch' | 'select'>,
  id: string,
  { limit, cursor = 0 }: { limit: number; cursor?: number | undefined },
): Promise<Statement | undefined> {
  const [[found], rows] = await db.batch(
    [
      db.select(account).from(accounts).where(eq(accounts.id, id)),
      db
        .select(statementEntry)
        .from(entries)
        .where(and(eq(entries.accountId, id), gt(entries.sequence, cursor)))
        .orderBy(asc(entries.sequence))
        .limit(limit + 1),
    ],
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  );
  if (!found) return undefined;
  const { items, nextCursor } = toPage(rows, limit, ({ sequence }) => sequence);
  const [first, last] = [items[0], items.at(-1)];
  return {
    account: found,
    openingBalance: first ? first.balanceAfter - first.amount : found.balance,
    closingBalance: last ? last.balanceAfter : found.balance,
    items,
    nextCursor,
  };
}
