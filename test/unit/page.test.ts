import { expect, it } from 'vitest';
import { toPage } from '../../src/page.ts';

const page = (rows: number[]) => toPage(rows, 2, (row) => `behind ${row}`);

it('a page has no more than was asked for, and tells where the next one begins', () => {
  expect(page([1, 2, 3])).toEqual({ items: [1, 2], nextCursor: 'behind 2' });
});

it.each([[[]], [[1]], [[1, 2]]])('the page %j is the last', (rows) => {
  expect(page(rows)).toEqual({ items: rows, nextCursor: null });
});
