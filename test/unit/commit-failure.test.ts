import { expect, it } from 'vitest';
import { DatabaseError, type DatabaseErrorKind } from '../../src/db/error.ts';
import { commitFailure } from '../../src/db/transaction.ts';

it.each<[kind: DatabaseErrorKind, code: string | undefined, expected: DatabaseErrorKind]>([
  ['connection', undefined, 'outcome-unknown'],
  ['connection', '08006', 'outcome-unknown'],
  ['unavailable', undefined, 'outcome-unknown'], // HTTP status 502
  ['unavailable', '57P01', 'outcome-unknown'], // the server goes down
  ['unavailable', '53100', 'unavailable'],
  ['timeout', undefined, 'outcome-unknown'],
  ['timeout', '57014', 'timeout'], // the server has stopped it
  ['constraint', '23505', 'constraint'],
  ['serialization', '40001', 'serialization'],
  ['auth', undefined, 'auth'],
  ['query', undefined, 'query'],
])('%s %s in answer to COMMIT is %s', (kind, code, expected) => {
  expect(commitFailure(new DatabaseError('', { kind, code }), {}).kind).toBe(expected);
});

it('a transaction that only reads, or was never sent, has no outcome to be unknown', () => {
  const lost = new DatabaseError('', { kind: 'connection' });
  expect(commitFailure(lost, { accessMode: 'read only' })).toBe(lost);
  const unsent = new DatabaseError('', { kind: 'connection', retryable: true });
  expect(commitFailure(unsent, {})).toBe(unsent);
});
