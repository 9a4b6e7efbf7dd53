import type { Database } from '../db/database.ts';
import { accounts } from './schema.ts';
import { makeTransfer } from './transfers.ts';

/** Fixed, so that examples can name them. */
export const DEMO_ACCOUNTS = {
  bank: '01940000-0000-7000-8000-000000000001',
  alice: '01940000-0000-7000-8000-000000000002',
  bob: '01940000-0000-7000-8000-000000000003',
} as const;

const CALLER = 'demo-data';

const TRANSFERS = [
  { key: 'salary', from: 'bank', to: 'alice', amount: 250_000, memo: 'Salary' },
  { key: 'rent', from: 'alice', to: 'bob', amount: 80_000, memo: 'Rent' },
  { key: 'dinner', from: 'bob', to: 'alice', amount: 1_850, memo: 'Dinner' },
] as const;

/**
 * Loads demo data, once, and all of it or nothing. If several run at once, one does: the others wait at its accounts.
 * @returns whether there was anything to do
 */
export async function seedDemoData(db: Database): Promise<boolean> {
  const { bank, alice, bob } = DEMO_ACCOUNTS;
  return db.transaction(async (tx) => {
    // The accounts tell whether it has run, not the transfers' keys: keys that nobody will send again may be deleted.
    const opened = await tx
      .insert(accounts)
      .values([
        { id: bank, name: 'Bank', currency: 'EUR', kind: 'external' },
        { id: alice, name: 'Alice', currency: 'EUR' },
        { id: bob, name: 'Bob', currency: 'EUR' },
      ])
      .onConflictDoNothing()
      .returning({ id: accounts.id });
    if (opened.length === 0) return false;
    for (const { key, from, to, amount, memo } of TRANSFERS) {
      const request = {
        fromAccountId: DEMO_ACCOUNTS[from],
        toAccountId: DEMO_ACCOUNTS[to],
        amount,
        currency: 'EUR',
        memo,
      };
      await makeTransfer(tx, { caller: CALLER, key }, request);
    }
    return true;
  });
}
