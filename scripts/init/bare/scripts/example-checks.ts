import { equal, ok } from 'node:assert/strict';
import type { Check } from './smoke-checks.ts';

/** The part of test/example-contract.ts that only reads. */
export const EXAMPLE_CHECKS: Record<string, Check> = {
  async 'lists messages'(ask) {
    const { status, body } = await ask('/messages');
    equal(status, 200);
    ok(Array.isArray(body['items']));
  },
};
