import { expect, it } from 'vitest';
import { toDatabaseError } from '../../src/db/error.ts';

it.each([
  undefined,
  'text',
  new DOMException('timed out', 'TimeoutError'), // its message cannot be set
  Object.freeze({ message: 'frozen' }),
])('whatever a driver throws becomes a DatabaseError: %s', (thrown) => {
  expect(toDatabaseError(thrown, 'http', true)).toMatchObject({ kind: 'connection', retryable: false });
});
