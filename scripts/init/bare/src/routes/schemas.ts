import * as v from 'valibot';

/** What requests may contain. The messages are for the caller. */

/** `v.object`, with a message that a missing field is required. Fields that it does not name are dropped. */
export const object = <Entries extends v.ObjectEntries>(entries: Entries) =>
  v.object(entries, ({ path }) => (path ? 'is required' : 'must be an object'));

export const idParam = object({ id: v.pipe(v.string('must be a UUID'), v.uuid('must be a UUID'), v.toLowerCase()) });

const limit = v.optional(
  v.pipe(
    v.string('must be an integer from 1 to 100'),
    v.regex(/^\d{1,3}$/, 'must be an integer from 1 to 100'),
    v.transform(Number),
    v.minValue(1, 'must be an integer from 1 to 100'),
    v.maxValue(100, 'must be an integer from 1 to 100'),
  ),
  '20',
);

const INVALID_CURSOR = 'must be the nextCursor of an earlier page';

/** A page of a list in order of id. */
export const pageById = object({
  limit,
  cursor: v.optional(v.pipe(v.string(INVALID_CURSOR), v.uuid(INVALID_CURSOR))),
});

/**
 * Text of `min` to `max` characters. PostgreSQL's cannot contain the character NUL, nor UTF-8 half of a surrogate pair. U+FFFD
 * stands where a body was not UTF-8 but, say, Latin-1: what was there is lost.
 */
export const text = (min: number, max: number) => {
  const message = `must be ${min} to ${max} characters in UTF-8, none of them NUL or U+FFFD`;
  // With the flag u it counts code points, as PostgreSQL does; half of a surrogate pair is one, in the category Cs.
  return v.pipe(v.string(message), v.regex(new RegExp(`^[^\\0\\ufffd\\p{Cs}]{${min},${max}}$`, 'u'), message));
};
