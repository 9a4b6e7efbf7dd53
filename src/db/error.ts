/** The transports a statement can travel over. */
export type TransportName = 'http' | 'websocket' | 'tcp';

/**
 * What went wrong, in the terms a caller decides by:
 *
 * - `connection`       no connection, or it broke
 * - `timeout`          a deadline passed, or the statement was cancelled
 * - `auth`             the database refused the role, its password or its privileges
 * - `unavailable`      the server or its control plane refuses work for now
 * - `constraint`       a constraint of the schema was violated (SQLSTATE class 23)
 * - `serialization`    a concurrent transaction won; the whole transaction can be run again
 * - `query`            the statement itself: syntax, types, missing tables, misuse of this module
 * - `outcome-unknown`  COMMIT was sent and its answer did not come
 */
export type DatabaseErrorKind =
  | 'connection'
  | 'timeout'
  | 'auth'
  | 'unavailable'
  | 'constraint'
  | 'serialization'
  | 'query'
  | 'outcome-unknown';

interface DatabaseErrorOptions {
  kind: DatabaseErrorKind;
  /** The five-character SQLSTATE, where the server sent one. */
  code?: string | undefined;
  transport?: TransportName | undefined;
  /** Whether sending the same work again cannot take effect twice. Default: only for `serialization`. */
  retryable?: boolean | undefined;
  constraint?: string | undefined;
  table?: string | undefined;
  column?: string | undefined;
  cause?: unknown;
}

/** Every failure of this module. Carries neither the password nor the parameters of a statement. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  readonly kind: DatabaseErrorKind;
  readonly code: string | undefined;
  readonly transport: TransportName | undefined;
  readonly retryable: boolean;
  readonly constraint: string | undefined;
  readonly table: string | undefined;
  readonly column: string | undefined;

  constructor(message: string, options: DatabaseErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = options.kind;
    this.code = options.code;
    this.transport = options.transport;
    this.retryable = options.retryable ?? options.kind === 'serialization';
    this.constraint = options.constraint;
    this.table = options.table;
    this.column = options.column;
  }
}

/** SQLSTATE classes and codes: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const KIND_BY_CODE: Record<string, DatabaseErrorKind> = {
  '08': 'connection',
  '23': 'constraint',
  '28': 'auth',
  '42501': 'auth', // insufficient_privilege
  '40001': 'serialization', // serialization_failure
  '40P01': 'serialization', // deadlock_detected
  '53': 'unavailable', // insufficient_resources
  '55P03': 'timeout', // lock_not_available
  '57014': 'timeout', // query_canceled, statement_timeout among its causes
  '25P03': 'timeout', // idle_in_transaction_session_timeout
  '25P04': 'timeout', // transaction_timeout
  '57P01': 'unavailable', // admin_shutdown
  '57P02': 'unavailable', // crash_shutdown
  '57P03': 'unavailable', // cannot_connect_now
};

interface DriverError {
  message?: string;
  code?: string;
  severity?: string;
  constraint?: string;
  table?: string;
  column?: string;
  /** Only Neon's own HTTP errors carry it: the error that `fetch` threw. */
  sourceError?: { name?: string; cause?: { code?: string } };
  /** Only the `ErrorEvent` of a WebSocket carries it. */
  error?: { message?: string };
}

/**
 * Turns whatever a driver threw (its own errors, an `ErrorEvent` of a WebSocket, a bare string) into a `DatabaseError`.
 * @param sent whether the statement may have run
 */
export function toDatabaseError(thrown: unknown, transport: TransportName, sent: boolean): DatabaseError {
  if (thrown instanceof DatabaseError) return thrown;
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : { message: String(thrown) }) as DriverError;
  const code = sqlState(error);
  const message = withoutValues(messageOf(error), code);
  const kind = code === undefined ? kindByMessage(error, message) : kindByCode(code, message);
  const neverRan = !sent && (kind === 'connection' || kind === 'unavailable');
  return new DatabaseError(message, {
    kind,
    code,
    transport,
    retryable: kind === 'serialization' || neverRan,
    constraint: error.constraint ?? undefined,
    table: error.table ?? undefined,
    column: error.column ?? undefined,
    cause: withoutFields(thrown, message),
  });
}

/** A failed `fetch` says why in the cause of its cause, a failed WebSocket in the error of its event, if at all. */
function messageOf({ message, error, sourceError }: DriverError): string {
  const said = message || error?.message || 'the connection to the database failed';
  const code = sourceError?.cause?.code;
  return code === undefined ? said : `${said} (${code})`;
}

function sqlState(error: DriverError): string | undefined {
  return typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) && error.severity !== undefined
    ? error.code
    : undefined;
}

function kindByCode(code: string, message: string): DatabaseErrorKind {
  // Neon reports its control plane's failures as internal errors.
  if (code === 'XX000' && /control plane/i.test(message)) return 'unavailable';
  return KIND_BY_CODE[code] ?? KIND_BY_CODE[code.slice(0, 2)] ?? 'query';
}

/** Neon's proxy sends no SQLSTATE for what fails before the database itself, so the message decides. */
function kindByMessage(error: DriverError, message: string): DatabaseErrorKind {
  if (/password authentication failed|permission denied/i.test(message)) return 'auth';
  if (isTimeout(error) || isTimeout(error.sourceError)) return 'timeout';
  const status = /HTTP status (\d{3})/.exec(message)?.[1];
  if (status !== undefined) return status.startsWith('5') && status !== '507' ? 'unavailable' : 'query';
  return 'connection';
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
}

/** Data exceptions (class 22) quote the value at fault: `invalid input syntax for type uuid: "…"`. */
function withoutValues(message: string, code: string | undefined): string {
  return code?.startsWith('22') ? message.replace(/".*"/s, '…') : message;
}

/** PostgreSQL repeats values of the row in some fields, too: a cause must be as safe to log as the error itself. */
function withoutFields(error: unknown, message: string): unknown {
  if (!(error instanceof Error)) return undefined;
  for (const field of ['detail', 'where', 'internalQuery']) Reflect.deleteProperty(error, field);
  if (error.message !== '' && error.message !== message) {
    error.stack = error.stack?.replace(error.message, message) ?? '';
    error.message = message;
  }
  return error;
}
