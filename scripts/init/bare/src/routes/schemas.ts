import * as v from 'valibot';

/** What requests may hold. The messages are for the caller. */

/** `v.object`, which says of a field that is missing that it is required. Fields that it does not name are dropped. */
export const object = <Entries extends v.ObjectEntries>(entries: Entries) =>
  v.object(entries, ({ path }) => (path ? 'is required' : 'must be an object'));

export const idParam = object({ id: v.pipe(v.string('must be a UUID'), v.uuid('must be a UUID'), v.toLowerCase()) });

/**
 * Text of so many characters. PostgreSQL's cannot hold the character NUL, and UTF-8 no half of a surrogate pair. U+FFFD stands
 * where a body was not UTF-8, but Latin-1 for instance: what it said there is lost.
 */
export const text = (min: number, max: number) => {
  const message = `must be ${min} to ${max} characters in UTF-8, none of them NUL or U+FFFD`;
  // With the flag u it counts code points, as PostgreSQL does, and half a pair is one, of the category Cs.
  return v.pipe(v.string(message), v.regex(new RegExp(`^[^\\0\\ufffd\\p{Cs}]{${min},${max}}$`, 'u'), message));
};
