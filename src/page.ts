export interface Page<Item, Cursor> {
  items: Item[];
  /** Where the next page begins; null on the last. */
  nextCursor: Cursor | null;
}

/**
 * A page of rows that were read in a cursor's order, starting after it.
 * @param rows `limit + 1` of them, if there are that many: the last one only tells that there is a next page
 */
export function toPage<Item, Cursor>(
  rows: readonly Item[],
  limit: number,
  cursorOf: (item: Item) => Cursor,
): Page<Item, Cursor> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > limit && last ? cursorOf(last) : null };
}
