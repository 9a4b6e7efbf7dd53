import pg from 'pg';
import { Refusal } from './gateway-login.ts';
import { PoolTimeout } from './gateway-pool.ts';
import { ConnectionLost } from './gateway-session.ts';

/** A failure that is not the database's: a message and the status it is sent with. */
export class RequestError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The codes of an ErrorResponse's fields, and the names under which Neon's proxy passes them on. */
const FIELDS = {
  M: 'message',
  C: 'code',
  D: 'detail',
  H: 'hint',
  P: 'position',
  p: 'internalPosition',
  q: 'internalQuery',
  S: 'severity',
  W: 'where',
  t: 'table',
  c: 'column',
  s: 'schema',
  d: 'dataType',
  n: 'constraint',
  F: 'file',
  L: 'line',
  R: 'routine',
} as const;

type ErrorBody = Record<(typeof FIELDS)[keyof typeof FIELDS], string | null>;

/** What the database says about a failed statement. */
export class StatementError extends Error {
  readonly body: ErrorBody;
  constructor(body: ErrorBody) {
    super('the statement failed');
    this.body = body;
  }
}

export function parseErrorResponse(message: Buffer): StatementError {
  const body = emptyBody('');
  for (const field of message.toString('utf8', 5).split('\0')) {
    const name = FIELDS[field[0] as keyof typeof FIELDS];
    if (name) body[name] = field.slice(1);
  }
  return new StatementError(body);
}

export const CONTROL_PLANE_ERROR = 'Control plane request failed';

/** The status and the body that Neon's proxy would answer with. */
export function describeError(error: unknown): { status: number; body: ErrorBody } {
  if (error instanceof StatementError) return { status: 400, body: error.body };
  if (error instanceof RequestError) return { status: error.status, body: emptyBody(error.message) };
  if (error instanceof Refusal) return { status: 400, body: emptyBody(error.message) };
  if (error instanceof pg.DatabaseError) return describeRefusal(error);
  if (error instanceof PoolTimeout) return { status: 503, body: emptyBody(error.message) };
  if (error instanceof ConnectionLost) return { status: 400, body: emptyBody(error.message) };
  return { status: 500, body: emptyBody(CONTROL_PLANE_ERROR) };
}

/**
 * Why the server refuses a client with the right password: Neon's proxy passes it on in full, but as a server error
 * (`proxy/src/serverless/sql_over_http.rs`).
 */
function describeRefusal(error: pg.DatabaseError): { status: number; body: ErrorBody } {
  const body = emptyBody(error.message);
  for (const name of Object.values(FIELDS)) body[name] = error[name] ?? null;
  return { status: 500, body };
}

function emptyBody(message: string): ErrorBody {
  const names = Object.values(FIELDS).map((name) => [name, null]);
  return { ...(Object.fromEntries(names) as ErrorBody), message, code: '', severity: '' };
}
