import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { v7 as uuidv7 } from 'uuid';
import type { Queryable, Transaction } from '../db/database.ts';
import { decideTransfer, type Refusal, type TransferRequest } from './rules.ts';
import { accounts, entries, idempotencyKeys, transfers } from './schema.ts';

export type Transfer = typeof transfers.$inferSelect;

/** What the ledger decided: kept with the idempotency key, and told again to whoever asks again. */
export type TransferOutcome = { made: { id: string } } | { refused: Refusal };

export interface TransferResult {
  outcome: { made: Transfer } | { refused: Refusal };
  /** Whether the outcome is that of an earlier request with the same key. */
  replayed: boolean;
}

/** Whose request it is, and its key: a key takes effect once for each caller. */
export interface Idempotency {
  caller: string;
  key: string;
}

/** Thrown when an idempotency key cannot be used; nothing has been changed. */
export class IdempotencyError extends Error {
  override readonly name = 'IdempotencyError';
  readonly reason: 'in-progress' | 'different-request';

  constructor(reason: IdempotencyError['reason']) {
    super(`idempotency key: ${reason}`);
    this.reason = reason;
  }
}

export async function getTransfer(db: Queryable, id: string): Promise<Transfer | undefined> {
  const [found] = await db.select().from(transfers).where(eq(transfers.id, id));
  return found;
}

/**
 * Moves money between two accounts, once for each idempotency key. Four round trips: claim the key, lock the accounts, write
 * everything, commit.
 * @throws {IdempotencyError} when the key is in use this moment, or was used for another request
 */
export async function makeTransfer(
  db: Pick<Queryable, 'transaction'>,
  idempotency: Idempotency,
  request: TransferRequest,
): Promise<TransferResult> {
  const requestHash = await hash(request);
  return db.transaction(async (tx) => {
    const earlier = await claim(tx, idempotency, requestHash);
    if (earlier) return { outcome: earlier, replayed: true };

    // In the order of their ids: two transfers between the same accounts cannot wait for each other.
    const locked = await tx
      .select()
      .from(accounts)
      .where(inArray(accounts.id, [request.fromAccountId, request.toAccountId]))
      .orderBy(asc(accounts.id))
      .for('update');
    const decision = decideTransfer(
      request,
      locked.find(({ id }) => id === request.fromAccountId),
      locked.find(({ id }) => id === request.toAccountId),
    );
    if ('refused' in decision) {
      await tx.insert(idempotencyKeys).values({ ...idempotency, requestHash, outcome: decision });
      return { outcome: decision, replayed: false };
    }

    const { from, to } = decision;
    const { amount, currency, memo = null } = request;
    const id = uuidv7();
    const posting = (account: typeof from, change: number) => ({
      accountId: account.id,
      sequence: account.sequence + 1,
      transferId: id,
      amount: change,
      balanceAfter: account.balance + change,
    });
    const postings = [posting(from, -amount), posting(to, amount)] as const;
    const post = ({ accountId, sequence, balanceAfter }: (typeof postings)[number]) =>
      tx.update(accounts).set({ sequence, balance: balanceAfter }).where(eq(accounts.id, accountId));

    const [[made]] = await tx.batch([
      tx
        .insert(transfers)
        .values({ id, fromAccountId: from.id, toAccountId: to.id, amount, currency, memo })
        .returning(),
      tx.insert(entries).values([...postings]),
      post(postings[0]),
      post(postings[1]),
      tx.insert(idempotencyKeys).values({ ...idempotency, requestHash, outcome: { made: { id } } }),
    ]);
    if (!made) throw new Error('INSERT … RETURNING returned no row');
    return { outcome: { made }, replayed: false };
  });
}

/**
 * Takes the key for this transaction, across all instances, and looks up what an earlier request with it came to. The lock
 * comes first: a statement sees what was committed before it began.
 */
async function claim(
  tx: Transaction,
  { caller, key }: Idempotency,
  requestHash: string,
): Promise<TransferResult['outcome'] | undefined> {
  const lock = sql`hashtextextended(${JSON.stringify([caller, key])}, 0)`;
  const [claimed, [earlier]] = await tx.batch([
    tx.execute<{ free: boolean }>(sql`select pg_try_advisory_xact_lock(${lock}) as free`),
    tx
      .select({ requestHash: idempotencyKeys.requestHash, outcome: idempotencyKeys.outcome, transfer: transfers })
      .from(idempotencyKeys)
      .leftJoin(transfers, eq(transfers.id, sql`(${idempotencyKeys.outcome} #>> '{made,id}')::uuid`))
      .where(and(eq(idempotencyKeys.caller, caller), eq(idempotencyKeys.key, key))),
  ]);
  if (!claimed.rows[0]?.free) throw new IdempotencyError('in-progress');
  if (!earlier) return undefined;
  if (earlier.requestHash !== requestHash) throw new IdempotencyError('different-request');
  if ('refused' in earlier.outcome) return earlier.outcome;
  if (!earlier.transfer) throw new Error(`The transfer ${earlier.outcome.made.id} of an idempotency key is missing`);
  return { made: earlier.transfer };
}

/** SHA-256 in hexadecimal; the fields in one order, however the request was written. */
async function hash({ fromAccountId, toAccountId, amount, currency, memo }: TransferRequest): Promise<string> {
  const text = JSON.stringify([fromAccountId, toAccountId, amount, currency, memo ?? null]);
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
