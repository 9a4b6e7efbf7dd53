import type { NeonDbError } from '@neondatabase/serverless';
import type { TransactionOptions, TransportName } from './transport.ts';

/** What went wrong, in terms that a caller can act on. */
export type DatabaseErrorKind =
  | 'connection' // no connection, or it broke
  | 'timeout' // a deadline passed, or the statement was cancelled
  | 'auth' // the database refused the role, its password or its privileges
  | 'unavailable' // the server or its control plane refuses work for now, or is going down
  | 'constraint' // a constraint of the schema was violated (SQLSTATE class 23)
  | 'serialization' // a concurrent transaction won; the whole transaction can be retried
  | 'query' // the statement itself: syntax, types, missing tables, misuse of this module
  | 'outcome-unknown'; // COMMIT was sent, but no answer came

/** Every failure of this module. Carries neither the password nor the parameters of a statement. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  declare readonly kind: DatabaseErrorKind;
  /** The five-character SQLSTATE, where the server sent one. */
  declare readonly code: string | undefined;
  declare readonly transport: TransportName | undefined;
  /** Whether the statement, batch or transaction can be retried without taking effect twice. Default: for `serialization`. */
  declare readonly retryable: boolean;
  declare readonly constraint: string | undefined;
  declare readonly table: string | undefined;
  declare readonly column: string | undefined;

  constructor(message: string, { cause, ...fields }: Pick<DatabaseError, 'kind'> & Partial<DatabaseError>) {
    super(message, cause ? { cause } : {});
    Object.assign(this, { retryable: fields.kind === 'serialization' }, fields);
  }
}

/** For what the caller has to change: the statement, the configuration, the use of this module. */
export function misuse(message: string, cause?: unknown): DatabaseError {
  return new DatabaseError(message, { kind: 'query', cause });
}

/** Whether the server is unreachable, or refuses work for now. */
const isAway = (kind: DatabaseErrorKind) => kind === 'connection' || kind === 'unavailable';

/** Whether the operation may be retried: it cannot have taken effect, or has no effect. */
export function mayRepeat(error: DatabaseError, readOnly: boolean): boolean {
  return error.retryable || (readOnly && isAway(error.kind));
}

/** Whether a replica is unusable for now: it does not answer, or cancels reads in order to replay the primary's changes. */
export function isReplicaUnusable(error: DatabaseError): boolean {
  return isAway(error.kind) || error.kind === 'serialization' || (error.kind === 'timeout' && !error.code);
}

/** What the failure of a flight that ends in COMMIT means: `outcome-unknown`, unless it says why nothing was committed. */
export function commitFailure(error: DatabaseError, accessMode: TransactionOptions['accessMode']): DatabaseError {
  const { code, kind, transport } = error;
  if (error.retryable || accessMode === 'read only' || /query|auth/.test(kind)) return error;
  // A SQLSTATE says why nothing took effect, except these: the connection broke, a transaction_timeout or the server's end cut
  // it off, or Hyperdrive or pgpool-II failed, perhaps after the commit.
  if (code && !/^(08|25P04|57P|58|XX)/.test(code)) return error;
  return new DatabaseError('COMMIT was not answered.', { kind: 'outcome-unknown', transport, cause: error });
}

/** What the drivers throw: the fields of PostgreSQL's errors and, for HTTP errors, what `fetch` threw. */
interface DriverError extends Partial<Omit<NeonDbError, 'sourceError'>> {
  sourceError?: { cause?: { code?: string; syscall?: string; errors?: Error[] } };
}

// `fetch` failed before it had a connection, judging by the system call, the errors for each address, or the code, listed in
// https://github.com/nodejs/undici/blob/main/docs/docs/api/Errors.md. HPE_CLOSED_CONNECTION is the parser's: the request was sent.
const NO_CONNECTION = /connect(?!i)|addr/i;

/**
 * There is no database, or no free connection: nothing has run. Neon's proxy says this about its control plane, compute
 * nodes, servers, disabled endpoints, limits and quotas; PostgreSQL about clients, slots, and a database system that is starting
 * up or shutting down; PgBouncer about its own shutdown, or names a setting: in parentheses, or `query_wait_timeout` and the like.
 */
const TURNED_AWAY =
  /control plane|compute node|ing (to|for) server|too many|disabled|slots|database system|exceeded the|\((max|server)_|query_|server shut/i;

/**
 * The first match wins. By SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html. By message if there is
 * none, or one that stands for any refusal: Neon's proxy sends none over HTTP and XX000 over sockets, as does pgpool-II;
 * PgBouncer sends 08P01. Here a message begins with a space: OpenSSL's begin with digits, as a SQLSTATE does.
 */
const KINDS: [RegExp, DatabaseErrorKind][] = [
  [/^08/, 'connection'],
  [/^23/, 'constraint'],
  // insufficient_resources; admin_shutdown, crash_shutdown, cannot_connect_now …; system_error, io_error, and Hyperdrive itself:
  // https://developers.cloudflare.com/hyperdrive/observability/troubleshooting/; 507: the response is too large
  [/^(53|57P|580| terminati)|HTTP status (429|5(?!07))/, 'unavailable'],
  [/^(28|42501| role ")|authentication failed|permission denied|blocked|not allowed|no such user/i, 'auth'], // insufficient_privilege
  [/^40(001|P01)/, 'serialization'], // serialization_failure, deadlock_detected
  [TURNED_AWAY, 'unavailable'],
  // lock_not_available, query_canceled (statement_timeout among its causes), idle_in_transaction_session_timeout, transaction_timeout
  [/^(55P03|57014|25P0[34])/, 'timeout'],
  [/HTTP status \d|no such database/, 'query'],
];

/** Data exceptions (class 22) quote the offending value, as do errors in a tsquery or tsvector, in any language. */
const QUOTING = /^22|ts[qv].*:/;

/** What may be a value: from the first " to the last, or from a colon or another language's quotation mark to the end. */
const VALUES = /".*"|[^ -9;-~].*/s;

/** Turns whatever a driver threw into a `DatabaseError`. @param sent whether the statement may have run */
export function toDatabaseError(thrown: unknown, transport: TransportName, sent: boolean): DatabaseError {
  if (thrown instanceof DatabaseError) return thrown;
  const error = (thrown ?? {}) as DriverError;
  const { severity, constraint, table, column } = error;
  // The server's errors have a severity; a socket's have another kind of code, such as ECONNRESET. A PANIC, which brings the
  // server down, may come after the commit: its code does not mean that nothing took effect.
  const code = severity && severity !== 'PANIC' ? error.code : undefined;
  const reason = error.sourceError?.cause ?? {};
  const text = reason.code ? `${error.message} (${reason.code})` : (error.message ?? '');
  const message = QUOTING.test(`${code} ${text}`) ? text.replace(VALUES, '…') : text;
  // PostgreSQL's own errors, which name a routine, may quote the statement: its words must not be taken for the proxy's.
  const words = error.routine && severity !== 'FATAL' ? '' : message;
  const evidence = !code || /08P01|XX000/.test(code) ? ' ' + words : code;
  // A pooler that lost the server says so with either code, and ends; PostgreSQL's 08P01 is, say, one parameter too few.
  const otherwise = !code || (evidence !== code && severity === 'FATAL') ? 'connection' : 'query';
  const kind = KINDS.find(([pattern]) => pattern.test(evidence))?.[1] ?? otherwise;
  const neverRan =
    !sent || NO_CONNECTION.test([reason.errors, reason.syscall, reason.code].join()) || TURNED_AWAY.test(words);
  return new DatabaseError(message, {
    kind,
    code,
    transport,
    retryable: kind === 'serialization' || (neverRan && isAway(kind)),
    constraint,
    table,
    column,
    cause: redact(thrown, message),
  });
}

/** PostgreSQL also repeats values of the row in some fields: a cause must be as safe to log as the error itself. */
function redact(error: unknown, message: string): unknown {
  if (!(error instanceof Error)) return undefined;
  for (const field of ['detail', 'where', 'internalQuery']) delete (error as Error & Record<string, unknown>)[field];
  error.stack = error.stack?.replace(error.message, () => message) ?? '';
  error.message = message;
  return error;
}
