import { expect, it } from 'vitest';
import { toDatabaseError } from '../../src/db/error.ts';

it('a host that becomes unreachable under an open connection says nothing of what was sent before', () => {
  const lost = Object.assign(new Error('read EHOSTUNREACH'), { code: 'EHOSTUNREACH' });
  expect(toDatabaseError(lost, 'tcp', true)).toMatchObject({ kind: 'connection', retryable: false });
  expect(toDatabaseError(lost, 'tcp', false)).toMatchObject({ kind: 'connection', retryable: true });
});
