import { deepEqual, equal, match, ok } from 'node:assert/strict';

/** Sends a request to the API, with its token unless told otherwise. */
export type Ask = (path: string, options?: { token: string | undefined }) => Promise<Answer>;

export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed, when it is JSON. */
  body: Record<string, unknown>;
}

export type Check = (ask: Ask) => Promise<void>;

/** What every deployment has to do, whatever its domain; nothing here writes. */
export const CHECKS: Record<string, Check> = {
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
  async 'refuses requests without a token, or with a wrong one'(ask) {
    for (const token of [undefined, 'wrong-token-0123456789']) {
      const answer = await ask('/nowhere', { token });
      expectProblem(answer, 401, 'unauthorized');
      // AWS's gateways, including function URLs, give this header another name.
      const names = ['WWW-Authenticate', 'x-amzn-Remapped-www-authenticate'];
      match(names.map((name) => answer.headers.get(name) ?? '').join(''), /^Bearer /);
    }
  },
  async 'answers an unknown path with 404'(ask) {
    expectProblem(await ask('/nowhere'), 404, 'not-found');
  },
};

export function expectProblem({ status, headers, body }: Answer, expected: number, name: string): void {
  deepEqual([status, body['type']], [expected, `urn:problem:${name}`]);
  equal(headers.get('Content-Type'), 'application/problem+json');
}
