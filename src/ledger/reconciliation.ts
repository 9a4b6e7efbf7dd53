import { count, eq, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { accounts, entries, transfers } from './schema.ts';

export interface Reconciliation {
  balanced: boolean;
  accounts: number;
  transfers: number;
  entries: number;
  /** Accounts whose balance or sequence is not what their entries say, and transfers whose entries do not cancel out. */
  differences: { account?: string; transfer?: string; expected: number; actual: number }[];
}

/** The lock that one reconciliation holds, across all connections. */
const LOCK = sql`hashtextextended('reconciliation', 0)`;

/** More than a person would read; that there are any is what matters. */
const MAX_DIFFERENCES = 100;

/**
 * Checks the books, from one snapshot. One at a time: the advisory lock belongs to the session's connection.
 * @returns undefined when another one is running
 */
export function reconcile(db: Pick<Database, 'session'>): Promise<Reconciliation | undefined> {
  return db.session(async (session) => {
    const { rows } = await session.execute<{ free: boolean }>(sql`select pg_try_advisory_lock(${LOCK}) as free`);
    if (!rows[0]?.free) return undefined;

    const sum = sql<number>`coalesce(sum(${entries.amount}), 0)`.mapWith(Number);
    const [accountCount, transferCount, entryCount, wrongAccounts, wrongTransfers] = await session.batch(
      [
        session.select({ count: count() }).from(accounts),
        session.select({ count: count() }).from(transfers),
        session.select({ count: count() }).from(entries),
        session
          .select({ account: accounts.id, expected: sum, actual: accounts.balance })
          .from(accounts)
          .leftJoin(entries, eq(entries.accountId, accounts.id))
          .groupBy(accounts.id)
          .having(sql`${sum} <> ${accounts.balance} or count(${entries.sequence}) <> ${accounts.sequence}`)
          .limit(MAX_DIFFERENCES),
        session
          .select({ transfer: transfers.id, expected: sql<number>`0`.mapWith(Number), actual: sum })
          .from(transfers)
          .leftJoin(entries, eq(entries.transferId, transfers.id))
          .groupBy(transfers.id)
          .having(sql`${sum} <> 0 or count(${entries.sequence}) <> 2`)
          .limit(MAX_DIFFERENCES),
      ],
      { isolationLevel: 'repeatable read', accessMode: 'read only' },
    );
    const differences = [...wrongAccounts, ...wrongTransfers];
    return {
      balanced: differences.length === 0,
      accounts: accountCount[0]?.count ?? 0,
      transfers: transferCount[0]?.count ?? 0,
      entries: entryCount[0]?.count ?? 0,
      differences,
    };
  });
}
