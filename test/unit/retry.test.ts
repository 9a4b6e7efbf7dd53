import { expect, it } from 'vitest';
import { DatabaseError, type DatabaseErrorKind } from '../../src/db/error.ts';
import { isLost, mayRepeat } from '../../src/db/internal/retry.ts';

it.each<[kind: DatabaseErrorKind, retryable: boolean, readOnly: boolean, expected: boolean]>([
  ['connection', true, false, true], // it was never sent
  ['connection', false, false, false],
  ['connection', false, true, true],
  ['unavailable', true, false, true],
  ['unavailable', false, false, false],
  ['unavailable', false, true, true],
  ['serialization', true, false, true],
  ['timeout', true, false, true], // while it connected
  ['timeout', false, true, false], // it would take as long again
  ['auth', false, true, false],
  ['constraint', false, true, false],
  ['query', false, true, false],
  ['outcome-unknown', false, false, false],
])('after %s, retryable %s, read only %s, it may be sent again: %s', (kind, retryable, readOnly, expected) => {
  expect(mayRepeat(new DatabaseError('', { kind, retryable }), readOnly)).toBe(expected);
});

it.each<[kind: DatabaseErrorKind, code: string | undefined, expected: boolean]>([
  ['connection', undefined, true],
  ['unavailable', '57P01', true],
  ['serialization', '40001', true], // it cancelled the read to replay
  ['timeout', undefined, true],
  ['timeout', '57014', false], // it answered
  ['auth', '28P01', false],
  ['constraint', '23505', false],
  ['query', '42601', false],
])('by %s %s a replica is lost: %s', (kind, code, expected) => {
  expect(isLost(new DatabaseError('', { kind, code }))).toBe(expected);
});
