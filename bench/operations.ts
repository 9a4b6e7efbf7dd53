import { and, eq } from 'drizzle-orm';
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';
import { DEMO_ACCOUNTS } from '../src/ledger/demo-data.ts';
import { accounts, entries, transfers } from '../src/ledger/schema.ts';

/** What is compared: one statement; five, atomic; three, each of which needs what the one before it found. */
export const OPERATIONS = ['one-shot', 'batch', 'transaction'] as const;

/** What the claims are about: a statement on an open connection, and the ledger's transfer, written in two ways. */
export type Operation = (typeof OPERATIONS)[number] | 'statements' | 'transfer' | 'transfer as one CTE';

/** How many the operation `statements` runs in its transaction, to time one. */
export const STATEMENTS = 100;

const { alice, bob } = DEMO_ACCOUNTS;

/** The account of the one-shot, and those of the batch. */
export const ACCOUNT = alice;
export const ACCOUNTS = [alice, bob, alice, bob, alice] as const;

/** Any drizzle database or transaction. */
type Drizzle = Pick<PgDatabase<PgQueryResultHKT>, 'select'>;

export const selectAccount = (db: Drizzle, id: string) => db.select().from(accounts).where(eq(accounts.id, id));

const selectEntry = (db: Drizzle, accountId: string, sequence: number) =>
  db
    .select()
    .from(entries)
    .where(and(eq(entries.accountId, accountId), eq(entries.sequence, sequence)));

const selectTransfer = (db: Drizzle, id: string) => db.select().from(transfers).where(eq(transfers.id, id));

/** An account, its newest entry, and the transfer that made it. */
export async function readNewestTransfer(db: Drizzle): Promise<void> {
  const [account] = expectRows(1, await selectAccount(db, ACCOUNT));
  const [entry] = expectRows(1, await selectEntry(db, account?.id ?? '', account?.sequence ?? 0));
  expectRows(1, await selectTransfer(db, entry?.transferId ?? ''));
}

/** The same statements for clients without drizzle, in the words that drizzle sends. */
export function statementTexts(db: Drizzle): Record<'account' | 'entry' | 'transfer', string> {
  return {
    account: selectAccount(db, ACCOUNT).toSQL().sql,
    entry: selectEntry(db, ACCOUNT, 1).toSQL().sql,
    transfer: selectTransfer(db, ACCOUNT).toSQL().sql,
  };
}

/** What came back has to be right to be worth timing. */
export function expectRows<Row>(count: number, rows: readonly Row[]): readonly Row[] {
  if (rows.length !== count) throw new Error(`expected ${count} rows, got ${rows.length}`);
  return rows;
}
