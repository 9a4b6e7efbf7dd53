import { describe, expect, it } from 'vitest';
import { type AccountState, decideTransfer } from '../../src/ledger/rules.ts';

const request = { fromAccountId: 'a', toAccountId: 'b', amount: 10, currency: 'EUR' };
const account = (state: Partial<AccountState> = {}): AccountState => ({
  currency: 'EUR',
  kind: 'ordinary',
  balance: 10,
  ...state,
});

describe('decideTransfer', () => {
  it('lets an account spend all it has, and an external one more', () => {
    expect(decideTransfer(request, account(), account())).not.toHaveProperty('refused');
    expect(decideTransfer(request, account({ kind: 'external', balance: 0 }), account())).not.toHaveProperty('refused');
  });

  it.each([
    ['same-account', { ...request, toAccountId: 'a' }, account(), account()],
    ['unknown-account', request, undefined, account()],
    ['unknown-account', request, account(), undefined],
    ['currency-mismatch', request, account({ currency: 'USD' }), account()],
    ['currency-mismatch', request, account(), account({ currency: 'USD' })],
    ['insufficient-funds', request, account({ balance: 9 }), account()],
    ['balance-out-of-range', request, account(), account({ balance: Number.MAX_SAFE_INTEGER })],
    ['balance-out-of-range', request, account({ kind: 'external', balance: -Number.MAX_SAFE_INTEGER }), account()],
  ])('refuses: %s', (reason, asked, from, to) => {
    expect(decideTransfer(asked, from, to)).toMatchObject({ refused: { reason } });
  });
});
