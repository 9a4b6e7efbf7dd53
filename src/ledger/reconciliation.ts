import { count, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { accounts, entries, transfers } from './schema.ts';

export interface Reconciliation {
  balanced: boolean;
  accounts: number;
  transfers: number;
  entries: number;
  differences: Difference[];
}

/** A number in an account, or in its entry for a transfer, that contradicts the rest of the books. */
export interface Difference {
  what: 'balance' | 'sequence' | 'amount';
  account: string;
  transfer?: string;
  expected: number;
  actual: number;
}

/** The lock that one reconciliation holds, across all connections. */
const LOCK = sql`hashtextextended('reconciliation', 0)`;

/** More than a person would read; that there are any is what matters. */
const MAX_DIFFERENCES = 100;

/** Checks, without the triggers of the migration `ledger_invariants`, what they guarantee: disabling them leaves traces. */
const DIFFERENCES = sql`
  with chain as (
    select *, lag(balance_after, 1, 0) over by_account::numeric + amount as balance, lag(sequence, 1, 0) over by_account + 1 as next
    from ${entries} window by_account as (partition by account_id order by sequence)
  ), sums as (
    select account_id, sum(amount) as balance, count(*) as sequence from ${entries} group by account_id
  ), sides as (
    select account, t.id as transfer, sign * t.amount as amount
    from ${transfers} t, lateral (values (from_account_id, -1), (to_account_id, 1)) two (account, sign)
    -- In another currency it is no transfer of this account's.
    where not exists (select from ${accounts} a where a.id = account and a.currency <> t.currency)
  ), numbers as (
    -- An account is at the end of its entries,
    select coalesce(id, account_id) as account, null::uuid as transfer, 'balance' as what,
      coalesce(sums.balance, 0) as expected, coalesce(a.balance, 0) as actual
    from ${accounts} a full join sums on account_id = id
    union all
    select coalesce(id, account_id), null, 'sequence', coalesce(sums.sequence, 0), coalesce(a.sequence, 0)
    from ${accounts} a full join sums on account_id = id
    -- which follow one another;
    union all select account_id, transfer_id, 'balance', balance, balance_after from chain
    union all select account_id, transfer_id, 'sequence', next, sequence from chain
    -- and they are the two sides of each transfer, and nothing else.
    union all
    select coalesce(account, account_id), coalesce(transfer, transfer_id), 'amount',
      coalesce(s.amount, 0), coalesce(e.amount, 0)
    from sides s full join ${entries} e on transfer_id = transfer and account_id = account
  )
  select * from numbers where expected <> actual order by transfer, account limit ${sql.raw(String(MAX_DIFFERENCES))}`;

/**
 * Checks the books, from one snapshot. One at a time: the advisory lock belongs to the session's connection.
 * Transfers do not wait for it. It reads all of the ledger: with millions of transfers, it takes longer than a statement may by
 * default (`statementMs` of `Timeouts`).
 * @returns undefined when another one is running
 */
export function reconcile(db: Pick<Database, 'session'>): Promise<Reconciliation | undefined> {
  return db.session(async (session) => {
    const { rows } = await session.execute<{ free: boolean }>(sql`select pg_try_advisory_lock(${LOCK}) as free`);
    if (!rows[0]?.free) return undefined;

    const [accountCount, transferCount, entryCount, { rows: differences }] = await session.batch(
      [
        session.select({ count: count() }).from(accounts),
        session.select({ count: count() }).from(transfers),
        session.select({ count: count() }).from(entries),
        session.execute<Record<keyof Difference, string>>(DIFFERENCES),
      ],
      { isolationLevel: 'repeatable read', accessMode: 'read only' },
    );
    return {
      balanced: differences.length === 0,
      accounts: accountCount[0]?.count ?? 0,
      transfers: transferCount[0]?.count ?? 0,
      entries: entryCount[0]?.count ?? 0,
      differences: differences.map(({ what, account, transfer, expected, actual }) => ({
        what: what as Difference['what'],
        account,
        ...(transfer && { transfer }),
        expected: Number(expected),
        actual: Number(actual),
      })),
    };
  });
}
