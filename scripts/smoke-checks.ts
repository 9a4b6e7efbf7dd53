import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

/** Asks the API: with its token, unless told otherwise. */
export type Ask = (path: string, options?: { token: string | undefined }) => Promise<Answer>;

export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed, when it is JSON. */
  body: Record<string, unknown>;
}

type Check = (ask: Ask) => Promise<void>;

/** What holds for any API of this kind, whatever it is about. */
const EVERYWHERE: Record<string, Check> = {
  async 'is live'(ask) {
    const { status, body, headers } = await ask('/health/live', { token: undefined });
    deepEqual([status, body], [200, { status: 'live' }]);
    match(headers.get('X-Request-Id') ?? '', /./);
  },
  async 'reaches its database over each transport'(ask) {
    const { status, body } = await ask('/health/ready', { token: undefined });
    deepEqual([status, body['status']], [200, 'ready']);
    ok(Array.isArray(body['transports']) && body['transports'].length > 0);
  },
  async 'refuses who has no token, or a wrong one'(ask) {
    for (const token of [undefined, 'wrong-token-0123456789']) {
      const answer = await ask('/nowhere', { token });
      expectProblem(answer, 401, 'unauthorized');
      match(answer.headers.get('WWW-Authenticate') ?? '', /^Bearer /);
    }
  },
  async 'answers an unknown path with 404'(ask) {
    expectProblem(await ask('/nowhere'), 404, 'not-found');
  },
};

/** The part of test/contract.ts that only reads. */
const LEDGER: Record<string, Check> = {
  async 'answers a wrong method with 405'(ask) {
    const answer = await ask('/transfers');
    expectProblem(answer, 405, 'method-not-allowed');
    match(answer.headers.get('Allow') ?? '', /POST/);
  },
  async 'refuses a malformed request with 400'(ask) {
    expectProblem(await ask('/accounts?limit=0'), 400, 'invalid-request');
    expectProblem(await ask('/accounts/17'), 400, 'invalid-request');
  },
  async 'answers for what is not there with 404'(ask) {
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

/** What a deployment has to do; nothing here writes. */
export const CHECKS = { ...EVERYWHERE, ...LEDGER };

function expectProblem({ status, headers, body }: Answer, expected: number, name: string): void {
  deepEqual([status, body['type']], [expected, `urn:problem:${name}`]);
  equal(headers.get('Content-Type'), 'application/problem+json');
}
