import { describe, expect, it } from 'vitest';
import type { Asked, Example } from './contract.ts';

const message = { text: 'hello' };

export const EXAMPLE: Example = {
  path: '/messages',
  body: message,
  table: 'messages',
  reads: [['GET', '/messages']],
  writes: [['/messages', message]],
};

/** The contract's part that is about the example. */
export function describeExample({ call, post, json, expectProblem }: Asked): void {
  describe('messages', () => {
    it('are kept, the latest first', async () => {
      expect((await post('/messages', { text: 'hello' })).status).toBe(201);
      expect(await json(await call('/messages'))).toMatchObject({ items: [{ text: 'hello' }] });
    });

    it.each([
      ['malformed JSON', '{"text":'],
      ['no text', {}],
      ['a text with a NUL', { text: 'a\0b' }],
    ])('refuse %s', async (_, body) => {
      await expectProblem(await post('/messages', body), 400, 'invalid-request');
    });

    it('refuse a body that is too large', async () => {
      await expectProblem(await post('/messages', { text: 'x'.repeat(70_000) }), 413, 'payload-too-large');
    });
  });
}
