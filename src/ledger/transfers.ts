import { asc, eq, inArray } from 'drizzle-orm';
import { v7 as uuidv7 } from 'uuid';
import type { Queryable } from '../db/database.ts';
import { claimKey, type Idempotency } from '../idempotency/idempotency.ts';
import { decideTransfer, type Refusal, type TransferRequest } from './rules.ts';
import { accounts, entries, transfers } from './schema.ts';

export type Transfer = typeof transfers.$inferSelect;

/** What the ledger decided: kept with the idempotency key, and returned again if the request is repeated. */
type TransferOutcome = { made: { id: string } } | { refused: Refusal };

export interface TransferResult {
  outcome: { made: Transfer } | { refused: Refusal };
  /** Whether the outcome is that of an earlier request with the same key. */
  replayed: boolean;
}

export async function getTransfer(db: Queryable, id: string): Promise<Transfer | undefined> {
  const [found] = await db.select().from(transfers).where(eq(transfers.id, id));
  return found;
}

/**
 * Moves money between two accounts, once per idempotency key. Four round trips: claim the key, lock the accounts, write
 * everything, commit.
 * @throws {IdempotencyError} when the key is in use right now, or was used for another request
 */
export async function makeTransfer(
  db: Pick<Queryable, 'transaction'>,
  idempotency: Idempotency,
  request: TransferRequest,
): Promise<TransferResult> {
  return db.transaction(async (tx) => {
    const { earlier, keep } = await claimKey<TransferOutcome>(tx, idempotency, request);
    if (earlier) return { outcome: await recall(tx, earlier), replayed: true };

    // In order of id: two transfers between the same accounts cannot deadlock.
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
      await keep(decision);
      return { outcome: decision, replayed: false };
    }

    const { from, to } = decision;
    const { amount, currency, memo } = request;
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
      keep({ made: { id } }),
    ]);
    if (!made) throw new Error('INSERT … RETURNING returned no row');
    return { outcome: { made }, replayed: false };
  });
}

async function recall(db: Queryable, outcome: TransferOutcome): Promise<TransferResult['outcome']> {
  if ('refused' in outcome) return outcome;
  const made = await getTransfer(db, outcome.made.id);
  if (!made) throw new Error(`The transfer ${outcome.made.id} of an idempotency key is missing`);
  return { made };
}
