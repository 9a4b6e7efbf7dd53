import { and, eq, sql } from 'drizzle-orm';
import type { Transaction } from '../db/database.ts';
import { idempotencyKeys } from './schema.ts';

/** Whose request it is, and its key: a key takes effect once per caller. */
export interface Idempotency {
  caller: string;
  key: string;
}

/** Thrown when an idempotency key cannot be used; nothing has been changed. */
export class IdempotencyError extends Error {
  override readonly name = 'IdempotencyError';
  readonly reason: 'request-in-progress' | 'idempotency-key-reused';

  constructor(reason: IdempotencyError['reason']) {
    super(`idempotency key: ${reason}`);
    this.reason = reason;
  }
}

/**
 * Locks the key for this transaction, across all instances, and looks up the outcome of an earlier request with it. One round
 * trip. The lock comes first: a statement sees what was committed before it began.
 * @param tx at the isolation level `read committed`, which is the default: at others it may not see an earlier request, and
 * `keep` then fails, with a violation of the primary key
 * @param request what identifies it as the same request, including the route if several take keys: JSON whose fields are always
 * in the same order, like those of a validated body
 * @returns the outcome of the `earlier` request; if there is none, do the work and `keep` its outcome, as JSON
 * @throws {IdempotencyError} when the key is in use right now, or was used for another request
 */
export async function claimKey<Outcome extends object>(
  tx: Transaction,
  { caller, key }: Idempotency,
  request: object,
): Promise<{ earlier: Outcome | undefined; keep: (outcome: Outcome) => ReturnType<typeof insert> }> {
  const requestHash = await hash(JSON.stringify(request));
  const lock = sql`hashtextextended(${JSON.stringify([caller, key])}, 0)`;
  const [claimed, [earlier]] = await tx.batch([
    tx.execute<{ free: boolean }>(sql`select pg_try_advisory_xact_lock(${lock}) as free`),
    tx
      .select({ requestHash: idempotencyKeys.requestHash, outcome: idempotencyKeys.outcome })
      .from(idempotencyKeys)
      .where(and(eq(idempotencyKeys.caller, caller), eq(idempotencyKeys.key, key))),
  ]);
  if (!claimed.rows[0]?.free) throw new IdempotencyError('request-in-progress');
  if (earlier && earlier.requestHash !== requestHash) throw new IdempotencyError('idempotency-key-reused');
  return {
    earlier: earlier?.outcome as Outcome | undefined,
    keep: (outcome) => insert(tx, { caller, key, requestHash, outcome }),
  };
}

const insert = (tx: Transaction, row: typeof idempotencyKeys.$inferInsert) => tx.insert(idempotencyKeys).values(row);

/** SHA-256 in hexadecimal. */
async function hash(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
