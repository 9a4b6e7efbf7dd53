import { equal, match, ok } from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type Check, expectProblem } from './smoke-checks.ts';

/** The part of test/example-contract.ts that only reads. */
export const EXAMPLE_CHECKS: Record<string, Check> = {
  async 'answers a wrong method with 405'(ask) {
    const answer = await ask('/transfers');
    expectProblem(answer, 405, 'method-not-allowed');
    match(answer.headers.get('Allow') ?? '', /POST/);
  },
  async 'refuses a malformed request with 400'(ask) {
    expectProblem(await ask('/accounts?limit=0'), 400, 'invalid-request');
    expectProblem(await ask('/accounts/17'), 400, 'invalid-request');
  },
  async 'answers 404 for what does not exist'(ask) {
    for (const path of ['/accounts', '/transfers'])
      expectProblem(await ask(`${path}/${randomUUID()}`), 404, 'not-found');
  },
  async 'lists accounts'(ask) {
    const { status, body } = await ask('/accounts?limit=2');
    equal(status, 200);
    ok(Array.isArray(body['items']) && body['items'].length <= 2 && 'nextCursor' in body);
  },
  async 'reads an account and a statement that adds up, if there is an account'(ask) {
    const [account] = (await ask('/accounts?limit=1')).body['items'] as { id: string }[];
    if (!account) return;
    equal((await ask(`/accounts/${account.id}`)).body['id'], account.id);
    const { status, body } = await ask(`/accounts/${account.id}/statement`);
    equal(status, 200);
    const amounts = (body['items'] as { amount: number }[]).map(({ amount }) => amount);
    equal(
      amounts.reduce((sum, amount) => sum + amount, Number(body['openingBalance'])),
      body['closingBalance'],
    );
  },
};
