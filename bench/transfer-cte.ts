import { sql, type SQL } from 'drizzle-orm';
import { v7 as uuidv7 } from 'uuid';
import type { Idempotency } from '../src/idempotency/idempotency.ts';
import type { TransferRequest } from '../src/ledger/rules.ts';

/**
 * The ledger's transfer in one statement: locks the accounts, decides, claims the key with its outcome, and writes. One row:
 * the `refusal`, or null, and whether the key was `claimed`. What it cannot do is in docs/driver-selection.md.
 */
export function transferInOneStatement({ caller, key }: Idempotency, request: TransferRequest): SQL {
  const { fromAccountId, toAccountId, amount, currency, memo = null } = request;
  const hash = JSON.stringify([fromAccountId, toAccountId, amount, currency, memo]);
  return sql`
    with request as (
      select ${uuidv7()}::uuid as id, ${fromAccountId}::uuid as from_id, ${toAccountId}::uuid as to_id,
        ${amount}::bigint as amount, ${currency}::text as currency, ${memo}::text as memo,
        ${caller}::text as caller, ${key}::text as key, encode(sha256(convert_to(${hash}, 'UTF8')), 'hex') as hash
    ), locked as materialized (
      select a.id, a.kind, a.currency, a.balance, a.sequence
      from accounts a, request r where a.id in (r.from_id, r.to_id) order by a.id for update of a
    ), decision as (
      select case
        when r.from_id = r.to_id then 'same-account'
        when f.id is null or t.id is null then 'unknown-account'
        when f.currency <> r.currency or t.currency <> r.currency then 'currency-mismatch'
        when f.kind = 'ordinary' and f.balance < r.amount then 'insufficient-funds'
      end as refusal
      from request r left join locked f on f.id = r.from_id left join locked t on t.id = r.to_id
    ), claimed as (
      insert into idempotency_keys (caller, key, request_hash, outcome)
      select caller, key, hash, case
        when refusal is null then jsonb_build_object('made', jsonb_build_object('id', id))
        else jsonb_build_object('refused', jsonb_build_object('reason', refusal))
      end from request, decision
      on conflict do nothing
      returning caller
    ), made as (
      insert into transfers (id, from_account_id, to_account_id, amount, currency, memo)
      select r.id, r.from_id, r.to_id, r.amount, r.currency, r.memo
      from request r, decision d, claimed where d.refusal is null
      returning *
    ), postings as (
      select l.id as account_id, l.sequence + 1 as sequence, m.id as transfer_id, c.change, l.balance + c.change as balance
      from made m
      cross join lateral (values (m.from_account_id, -m.amount), (m.to_account_id, m.amount)) as c (account_id, change)
      join locked l on l.id = c.account_id
    ), written as (
      insert into entries (account_id, sequence, transfer_id, amount, balance_after)
      select account_id, sequence, transfer_id, change, balance from postings
    ), updated as (
      update accounts a set sequence = p.sequence, balance = p.balance from postings p where a.id = p.account_id
    )
    select d.refusal, exists (select from claimed) as claimed from decision d`;
}
