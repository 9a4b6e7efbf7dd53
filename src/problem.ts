import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { DatabaseError, type DatabaseErrorKind } from './db/error.ts';
import type { AppEnv } from './create-app.ts';
import { IdempotencyError } from './idempotency/idempotency.ts';

/** Every problem the API can answer with, by the last part of its `type`. The names are part of the interface. */
export const PROBLEMS = {
  'invalid-request': [400, 'The request is malformed'],
  unauthorized: [401, 'A valid bearer token is required'],
  forbidden: [403, 'This is not allowed'],
  'not-found': [404, 'Nothing was found'],
  'method-not-allowed': [405, 'The method is not supported here'],
  'request-in-progress': [409, 'A request with this idempotency key is in progress'],
  'reconciliation-in-progress': [409, 'A reconciliation is in progress'],
  'payload-too-large': [413, 'The request body is too large'],
  'unsupported-media-type': [415, 'The request body has an unsupported media type'],
  'idempotency-key-reused': [422, 'The idempotency key was used for another request'],
  'same-account': [422, 'The accounts are the same'],
  'unknown-account': [422, 'An account does not exist'],
  'currency-mismatch': [422, 'The currencies differ'],
  'insufficient-funds': [422, 'The account does not hold enough'],
  'balance-out-of-range': [422, 'A balance would be out of range'],
  'too-many-requests': [429, 'Too many requests'],
  'internal-error': [500, 'Something went wrong'],
  'database-unavailable': [503, 'The database is not available'],
} as const satisfies Record<string, readonly [ContentfulStatusCode, string]>;

export type ProblemName = keyof typeof PROBLEMS;

/** The problem for an error that has nothing but a status; `invalid-request` for a status that is not here. */
const BY_STATUS: Partial<Record<number, ProblemName>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  413: 'payload-too-large',
  429: 'too-many-requests',
};

interface ProblemDetails {
  detail?: string;
  errors?: { pointer: string; detail: string }[];
  headers?: Record<string, string>;
}

/** Thrown by routes and middleware; answered as problem details (RFC 9457). */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly problem: ProblemName;
  readonly details: ProblemDetails;

  constructor(problem: ProblemName, details: ProblemDetails = {}) {
    super(details.detail ?? PROBLEMS[problem][1]);
    this.problem = problem;
    this.details = details;
  }
}

/** Database failures that another attempt may not run into. */
const PASSING: ReadonlySet<DatabaseErrorKind> = new Set([
  'connection',
  'timeout',
  'unavailable',
  'serialization',
  'outcome-unknown',
]);

/** read_only_sql_transaction: the server accepts no writes for now (a replica, or a full disk), or code asked for read only. */
const READ_ONLY = '25006';

/** Seconds: 2 to 5, long enough for a suspended database to wake; at random, so that not all callers come back at once. */
const retryAfter = () => String(2 + Math.floor(4 * Math.random()));

/** Each 401 carries a challenge (RFC 9110, section 15.5.2): this one, unless a middleware made its own. */
const CHALLENGE = { 'WWW-Authenticate': 'Bearer realm="api"' };

/** Turns an error into a response. Nothing of an unexpected error reaches the caller; all of it reaches the log. */
export function answerProblem(error: unknown, c: Context<AppEnv>): Response {
  if (error instanceof Problem) return respond(c, error.problem, error.details);
  if (error instanceof IdempotencyError) return respond(c, error.reason, {});
  if (error instanceof HTTPException && error.status < 500) return fromHttpException(error, c);
  logError(error, c.get('requestId'));
  if (error instanceof DatabaseError && (PASSING.has(error.kind) || error.code === READ_ONLY)) {
    return respond(c, 'database-unavailable', { headers: { 'Retry-After': retryAfter() } });
  }
  return respond(c, 'internal-error', { detail: 'The log has the details, under the request id in `instance`.' });
}

function respond(c: Context<AppEnv>, problem: ProblemName, { detail, errors, headers }: ProblemDetails): Response {
  const [status, title] = PROBLEMS[problem];
  // Error trackers and tracers report what Hono leaves here: what the caller did wrong is no failure of this API.
  if (status < 500) c.error = undefined;
  const body = {
    type: `urn:problem:${problem}`,
    title,
    status,
    detail,
    instance: status >= 500 ? `urn:request:${c.get('requestId')}` : undefined,
    errors,
  };
  return c.body(JSON.stringify(body), status, {
    ...(status === 401 && CHALLENGE),
    ...headers,
    'Content-Type': 'application/problem+json',
  });
}

/** Hono's own middleware throws these: malformed JSON, a missing token, a body that is too large. */
function fromHttpException(error: HTTPException, c: Context<AppEnv>): Response {
  const challenge = error.getResponse().headers.get('WWW-Authenticate');
  if (challenge !== null) {
    return respond(c, 'unauthorized', {
      detail: 'Send the header "Authorization: Bearer <token>".',
      // 400: the credentials are no bearer token but, say, Basic. The challenge then names no error (RFC 6750, section 3.1).
      headers: error.status === 400 ? CHALLENGE : { 'WWW-Authenticate': challenge },
    });
  }
  return respond(c, BY_STATUS[error.status] ?? 'invalid-request', error.message ? { detail: error.message } : {});
}

export function logError(error: unknown, requestId: string | null): void {
  console.error(JSON.stringify({ level: 'error', requestId, error: describe(error) }));
}

/** Fields that say what happened, of database errors and the PostgreSQL errors that caused them; others may repeat values. */
const LOGGED_FIELDS = ['kind', 'code', 'transport', 'constraint', 'table', 'column', 'position', 'hint'] as const;

function describe(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return withoutCredentials(String((error as Partial<Error> | null)?.message ?? error));
  const fields = LOGGED_FIELDS.flatMap((name) => {
    const value = (error as unknown as Record<string, unknown>)[name];
    return typeof value === 'string' ? [[name, value]] : [];
  });
  return {
    name: error.name,
    message: withoutCredentials(error.message),
    ...(Object.fromEntries(fields) as Record<string, string>),
    stack: withoutCredentials(error.stack ?? ''),
    ...(error.cause !== undefined && depth < 5 && { cause: describe(error.cause, depth + 1) }),
  };
}

/** Whatever a library puts into its messages: no URL leaves with its user and password. */
function withoutCredentials(text: string): string {
  return text.replaceAll(/:\/\/[^\s/]*@/g, '://***@');
}
