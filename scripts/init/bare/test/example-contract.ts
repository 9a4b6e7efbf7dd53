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
    it('are kept, and listed page by page, the latest first', async () => {
      for (const text of ['one', 'two', 'three']) expect((await post('/messages', { text })).status).toBe(201);
      const page = await json<{ nextCursor: string }>(await call('/messages?limit=2'));
      expect(page).toMatchObject({ items: [{ text: 'three' }, { text: 'two' }] });
      const next = await json(await call(`/messages?limit=1&cursor=${page.nextCursor}`));
      expect(next).toMatchObject({ items: [{ text: 'one' }] });
    });

    it.each(['limit=0', 'limit=101', 'limit=two', 'cursor=1'])('are not listed with ?%s', async (query) => {
      await expectProblem(await call(`/messages?${query}`), 400, 'invalid-request');
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
