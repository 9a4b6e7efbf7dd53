import { message, query } from './postgres-messages.ts';

/**
 * Undoes what a transaction left behind in its session: behind a pooler in transaction mode, the next one may run on another
 * connection. What stays is what PgBouncer also keeps: statements that were prepared through the protocol.
 */
export const RESET_TRANSACTION = query(`CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
  SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES;
  DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT s.name FROM pg_catalog.pg_prepared_statements s WHERE from_sql LOOP
      EXECUTE pg_catalog.format('DEALLOCATE %I', name);
    END LOOP;
  END $$`);

/** The command tag, if all of it worked. */
export const RESET_TRANSACTION_TAG = 'DO\0';

/** Fails where LISTEN would have run, so that the server keeps its state as after any other error. */
const LISTEN_REFUSED = `DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
  MESSAGE = 'LISTEN does not work through a transaction pooler: the connection that hears the notifications is given to '
    'another client when the transaction ends',
  HINT = 'Use the direct route.'; END $$`;

/** As a statement's first word: at the start, or after a semicolon. */
const LISTENS = /(?:^|;)\s*listen\b/i;

/**
 * A line comment, the start of a block comment, strings, dollar-quoted strings (to the end of the text if nothing closes them),
 * and quoted identifiers. A dollar sign after a letter belongs to a name; every non-ASCII character is a letter.
 */
const NO_WORDS =
  /--[^\n\r]*|\/\*|(?<![\w\u0080-\uffff$])\$([\w\u0080-\uffff]*)\$.*?(?:\$\1\$|$)|\b[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'|'[^']*(?:''[^']*)*'|"[^"]*"/gs;

/** In a block comment, which may nest, nothing else counts. */
const COMMENT_ENDS = /\/\*|\*\//g;

/** Returns a Query or Parse message or, if it would LISTEN, one that fails in its place. */
export function refuseListen(type: string, received: Buffer): Buffer {
  if (type !== 'Q' && type !== 'P') return received;
  const name = type === 'P' ? received.subarray(5, received.indexOf(0, 5) + 1) : Buffer.alloc(0);
  const from = 5 + name.length;
  const sql = received.toString('utf8', from, received.indexOf(0, from));
  if (!/listen/i.test(sql) || !listens(sql)) return received;
  const refusal = Buffer.from(`${LISTEN_REFUSED}\0${type === 'P' ? '\0\0' : ''}`); // a Parse ends with its number of types
  return message(type, Buffer.concat([name, refusal]));
}

function listens(sql: string): boolean {
  let words = '';
  let depth = 0;
  try {
    for (let at = 0; at < sql.length;) {
      const pattern = depth > 0 ? COMMENT_ENDS : NO_WORDS;
      pattern.lastIndex = at;
      const { index = sql.length, 0: found = '' } = pattern.exec(sql) ?? {};
      if (depth === 0) words += `${sql.slice(at, index)} `;
      if (found === '/*') depth++;
      else if (depth > 0) depth--;
      at = index + found.length;
    }
    return LISTENS.test(words);
  } catch {
    return false; // millions of repetitions are more than a regular expression can look through
  }
}

/** https://www.pgbouncer.org/config.html: what it keeps for each client, and what Neon has it ignore. */
const START_UP_PARAMETERS = new Set([
  'user',
  'database',
  'application_name',
  'client_encoding',
  'datestyle',
  'intervalstyle',
  'standard_conforming_strings',
  'timezone',
  'extra_float_digits',
]);

const isKept = (name: string) => START_UP_PARAMETERS.has(name.toLowerCase());

/** `-c name=value`, `-cname=value`, `--name=value`, or something else; a space after a backslash does not end one. */
const OPTIONS = /-c\s*(?:\\.|\S)*|(?:\\.|\S)+/gs;

/** Why a transaction pooler refuses a start-up message, in PgBouncer's words: for a parameter that it cannot keep. */
export function unsupportedParameter({ options = '', ...parameters }: Record<string, string>): string | undefined {
  const unsupported = Object.keys(parameters).find((name) => !isKept(name) && !name.startsWith('_pq_.'));
  if (unsupported) return `unsupported startup parameter: ${unsupported}`;
  for (const [option] of options.matchAll(OPTIONS)) {
    const name = /^(?:-c\s*|--)([^=\s]+)=/.exec(option)?.[1];
    if (!name) return "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed";
    if (!isKept(name)) return `unsupported startup parameter in options: ${name}`;
  }
  return undefined;
}
