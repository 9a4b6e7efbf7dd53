/** What decides whether a transfer may be made. Pure: everything it needs is passed in. */

export interface TransferRequest {
  fromAccountId: string;
  toAccountId: string;
  /** Minor units, 1 to `Number.MAX_SAFE_INTEGER`. */
  amount: number;
  /** ISO 4217. */
  currency: string;
  memo?: string | undefined;
}

/** The part of an account that the rules look at. */
export interface AccountState {
  currency: string;
  kind: 'ordinary' | 'external';
  balance: number;
}

export type RefusalReason =
  | 'same-account'
  | 'unknown-account'
  | 'currency-mismatch'
  | 'insufficient-funds'
  | 'balance-out-of-range';

export interface Refusal {
  reason: RefusalReason;
  detail: string;
}

/** The two accounts if the transfer may be made, or why it may not. */
export function decideTransfer<A extends AccountState>(
  { fromAccountId, toAccountId, amount, currency }: TransferRequest,
  from: A | undefined,
  to: A | undefined,
): { from: A; to: A } | { refused: Refusal } {
  const refuse = (reason: RefusalReason, detail: string) => ({ refused: { reason, detail } });
  if (fromAccountId === toAccountId) return refuse('same-account', 'A transfer needs two different accounts.');
  if (!from) return refuse('unknown-account', `There is no account ${fromAccountId}.`);
  if (!to) return refuse('unknown-account', `There is no account ${toAccountId}.`);
  const foreign = [from, to].find((account) => account.currency !== currency);
  if (foreign) {
    return refuse('currency-mismatch', `The transfer is in ${currency}, an account in ${foreign.currency}.`);
  }
  if (from.kind === 'ordinary' && from.balance < amount) {
    return refuse('insufficient-funds', `The account holds less than ${amount} minor units of ${currency}.`);
  }
  if (!Number.isSafeInteger(from.balance - amount) || !Number.isSafeInteger(to.balance + amount)) {
    return refuse('balance-out-of-range', 'A balance would leave the range of safe integers.');
  }
  return { from, to };
}
