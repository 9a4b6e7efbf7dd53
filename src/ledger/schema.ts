import { sql } from 'drizzle-orm';
import { bigint, check, foreignKey, pgTable, primaryKey, text, timestamp, unique, uuid } from 'drizzle-orm/pg-core';

/**
 * The ledger's tables. What one row can say about itself is a constraint here; what takes several rows (entries that sum to
 * zero, balances that follow their entries) is a trigger in the migration `ledger_invariants`.
 *
 * Transfers and entries never change, under the owner's hands either. To fill a new column of theirs in batches, disable the
 * trigger `transfers_append_only` or `entries_append_only` meanwhile: `migrations/grants.sql` still keeps the application from
 * changing them, unless its role is a member of `pg_write_all_data`. To bring rows back from a backup, insert accounts, transfers
 * and entries in one transaction: what takes several rows is checked when it commits.
 */

const minorUnits = (name: string) => bigint(name, { mode: 'number' });
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });

/** `Number.MAX_SAFE_INTEGER`: beyond it JavaScript and JSON lose minor units. */
const maxAmount = sql.raw(String(Number.MAX_SAFE_INTEGER));

export const accounts = pgTable(
  'accounts',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    /** ISO 4217. */
    currency: text('currency').notNull(),
    /** Money enters and leaves through `external` accounts, the only ones that may be negative. */
    kind: text('kind', { enum: ['ordinary', 'external'] })
      .notNull()
      .default('ordinary'),
    balance: minorUnits('balance').notNull().default(0),
    /** The sequence of the account's newest entry; 0 before the first. */
    sequence: bigint('sequence', { mode: 'number' }).notNull().default(0),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (table) => [
    unique('accounts_id_currency').on(table.id, table.currency),
    check('accounts_name_length', sql`char_length(${table.name}) between 1 and 100`),
    check('accounts_currency_code', sql`${table.currency} ~ '^[A-Z]{3}$'`),
    check('accounts_kind', sql`${table.kind} in ('ordinary', 'external')`),
    check('accounts_balance_not_negative', sql`${table.kind} = 'external' or ${table.balance} >= 0`),
    check('accounts_balance_range', sql`${table.balance} between -${maxAmount} and ${maxAmount}`),
    check('accounts_sequence', sql`${table.sequence} >= 0`),
  ],
);

export const transfers = pgTable(
  'transfers',
  {
    id: uuid('id').primaryKey(),
    fromAccountId: uuid('from_account_id').notNull(),
    toAccountId: uuid('to_account_id').notNull(),
    amount: minorUnits('amount').notNull(),
    currency: text('currency').notNull(),
    memo: text('memo'),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (table) => [
    // The key includes the currency: a transfer between two currencies has no row to refer to.
    foreignKey({
      name: 'transfers_from_account',
      columns: [table.fromAccountId, table.currency],
      foreignColumns: [accounts.id, accounts.currency],
    }),
    foreignKey({
      name: 'transfers_to_account',
      columns: [table.toAccountId, table.currency],
      foreignColumns: [accounts.id, accounts.currency],
    }),
    check('transfers_two_accounts', sql`${table.fromAccountId} <> ${table.toAccountId}`),
    check('transfers_amount_range', sql`${table.amount} between 1 and ${maxAmount}`),
    check('transfers_memo_length', sql`char_length(${table.memo}) <= 200`),
  ],
);

/** What a transfer did to one account. Never changed, never deleted. */
export const entries = pgTable(
  'entries',
  {
    accountId: uuid('account_id')
      .notNull()
      .references(() => accounts.id),
    /** Numbers the account's entries without gaps: the order of a statement. */
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    transferId: uuid('transfer_id')
      .notNull()
      .references(() => transfers.id),
    amount: minorUnits('amount').notNull(),
    balanceAfter: minorUnits('balance_after').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.sequence] }),
    unique('entries_transfer_account').on(table.transferId, table.accountId),
    check('entries_sequence', sql`${table.sequence} >= 1`),
    check('entries_amount', sql`${table.amount} <> 0`),
  ],
);
