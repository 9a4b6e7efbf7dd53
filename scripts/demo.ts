import { DEMO_ACCOUNTS, seedDemoData } from '../src/ledger/demo-data.ts';

/** What the example domain gives to `npm run dev`: its data, and a request of each kind to try. */
export { seedDemoData };

/** @returns for each kind of access, the options of a curl command */
export function examples(api: string): [kind: string, curl: string][] {
  const { bank, alice } = DEMO_ACCOUNTS;
  const transfer = JSON.stringify({ fromAccountId: bank, toAccountId: alice, amount: 100, currency: 'EUR' });
  return [
    ['One-shot', `${api}/accounts`],
    ['Batch', `${api}/accounts/${alice}/statement`],
    [
      'Transaction',
      `-H "Idempotency-Key: $(date +%s)" -H 'Content-Type: application/json' -d '${transfer}' ${api}/transfers`,
    ],
    ['Session', `-X POST ${api}/reconciliations`],
  ];
}
