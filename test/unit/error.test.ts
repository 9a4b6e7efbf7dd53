import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import {
  commitFailure,
  DatabaseError,
  type DatabaseErrorKind,
  isReplicaUnusable,
  mayRepeat,
  toDatabaseError,
} from '../../src/db/error.ts';

it('a host that becomes unreachable under an open connection says nothing of what was sent before', () => {
  const lost = Object.assign(new Error('read EHOSTUNREACH'), { code: 'EHOSTUNREACH' });
  expect(toDatabaseError(lost, 'tcp', true)).toMatchObject({ kind: 'connection', retryable: false });
  expect(toDatabaseError(lost, 'tcp', false)).toMatchObject({ kind: 'connection', retryable: true });
  const overHttp = Object.assign(new Error('fetch failed'), { sourceError: { cause: lost } });
  expect(toDatabaseError(overHttp, 'http', true)).toMatchObject({ kind: 'connection', retryable: false });
});

// As Node and undici make them: https://github.com/nodejs/undici/blob/main/docs/docs/api/Errors.md. Of a host with several
// addresses, of which none could be reached in time, there is one error for all, with the code of the first.
it.each([
  [{ code: 'ECONNREFUSED', syscall: 'connect' }, true],
  [{ code: 'ENETUNREACH', syscall: 'connect' }, true],
  [{ code: 'ENOTFOUND', syscall: 'getaddrinfo' }, true],
  [{ code: 'EAI_AGAIN', syscall: 'getaddrinfo' }, true],
  [{ code: 'UND_ERR_CONNECT_TIMEOUT' }, true],
  [
    { code: 'ETIMEDOUT', errors: [new Error('connect ETIMEDOUT 192.0.2.1:443'), new Error('connect ENETUNREACH')] },
    true,
  ],
  [{ code: 'ETIMEDOUT', syscall: 'read' }, false],
  [{ code: 'ECONNRESET', syscall: 'read' }, false],
  [{ code: 'EPIPE', syscall: 'write' }, false],
  [{ code: 'UND_ERR_SOCKET' }, false],
  [{ code: 'HPE_CLOSED_CONNECTION' }, false], // the answer stood behind a 103 with `Connection: close`
])('a request that fails with %o may be sent again: %s', (cause, retryable) => {
  const failed = Object.assign(new Error('fetch failed'), { sourceError: { cause } });
  const message = `fetch failed (${cause.code})`;
  expect(toDatabaseError(failed, 'http', true)).toMatchObject({ kind: 'connection', retryable, message });
});

it.each<[message: string, code: string | undefined, kind: DatabaseErrorKind, retryable: boolean]>([
  ["password authentication failed for user 'app'", 'XX000', 'auth', false],
  ['This IP address 192.0.2.1 is not allowed to connect to this endpoint.', 'XX000', 'auth', false],
  ['This connection is trying to access this endpoint from a blocked network.', 'XX000', 'auth', false],
  ['role "app" is not permitted to log in', 'XX000', 'auth', false],
  ['role "app" does not exist', 'XX000', 'auth', false],
  ['too many connections for role "app"', 'XX000', 'unavailable', true],
  ['permission denied for database "app"', 'XX000', 'auth', false],
  ['Control plane request failed', 'XX000', 'unavailable', true],
  ["Couldn't connect to compute node", 'XX000', 'unavailable', true],
  [
    'Server error (HTTP status 500): {"message":"error connecting to server: timed out"}',
    undefined,
    'unavailable',
    true,
  ],
  ['Server error (HTTP status 500): {"message":"timeout waiting for server"}', undefined, 'unavailable', true],
  ['Failed to acquire permit to connect to the database. Too many attempts are ongoing.', 'XX000', 'unavailable', true],
  ['sorry, too many clients already', 'XX000', 'unavailable', true],
  ['remaining connection slots are reserved for roles with the SUPERUSER attribute', '53300', 'unavailable', true],
  ['the database system is starting up', '57P03', 'unavailable', true],
  ['the database system is shutting down', 'XX000', 'unavailable', true],
  ['the database system is not yet accepting connections', 'XX000', 'unavailable', true],
  ['Your account or project has exceeded the compute time quota.', undefined, 'unavailable', true],
  ["You've exceeded the rate limit. Please wait a moment and try again.", 'XX000', 'unavailable', true],
  ["You've exceeded the compute time for this branch.", 'XX000', 'unavailable', true],
  ['You have exceeded the limit of concurrently active endpoints.', 'XX000', 'unavailable', true],
  [
    'Server error (HTTP status 402): {"message":"You have exceeded the limit of concurrently active endpoints."}',
    undefined,
    'unavailable',
    true,
  ],
  ['The endpoint has been disabled. Enable it using Neon API and retry.', undefined, 'unavailable', true],
  ['The endpoint has been disabled. Enable it using Neon API and retry.', 'XX000', 'unavailable', true],
  ['Failed to acquire a connection from the pool.', '58000', 'unavailable', false], // Hyperdrive
  ['Internal error.', '58000', 'unavailable', false], // the same, whatever had run
  ['could not access file "$libdir/vector": No such file or directory', '58P01', 'query', false],
  ['database "nowhere" does not exist', 'XX000', 'query', false],
  ['could not determine data type of parameter $1', '42P08', 'query', false],
  ['canceling statement due to lock timeout', '55P03', 'timeout', false],
  ['terminating connection due to idle-in-transaction timeout', '25P03', 'timeout', false],
  ['terminating connection due to transaction timeout', '25P04', 'timeout', false],
  ['connection to server was lost', '08006', 'connection', false],
  ['statement completion unknown', '40003', 'query', false], // of class 40, and may have taken effect
  ['too many notes', 'P0001', 'query', false], // what a function of one's own says
])('"%s" %s, however it comes, is %s', (message, code, kind, retryable) => {
  for (const transport of ['http', 'websocket', 'tcp'] as const) {
    const thrown = Object.assign(new Error(message), code && { code, severity: 'ERROR' });
    expect(toDatabaseError(thrown, transport, true)).toMatchObject({ kind, retryable });
  }
});

it('a log-in that a server on its way down ends did nothing, and may go on elsewhere; a statement may have been done', () => {
  const thrown = (code: string) =>
    Object.assign(new Error('terminating connection due to administrator command'), { code, severity: 'ERROR' });
  // Neon's proxy gives what the server says at log-in a code of its own.
  expect(toDatabaseError(thrown('XX000'), 'websocket', false)).toMatchObject({ kind: 'unavailable', retryable: true });
  expect(toDatabaseError(thrown('57P01'), 'websocket', true)).toMatchObject({ kind: 'unavailable', retryable: false });
});

it('what PostgreSQL says of a statement, which it may quote, is not taken for a word of the proxy', () => {
  const fields = { code: 'XX000', severity: 'ERROR', routine: 'elog_node_display' };
  const thrown = Object.assign(new Error('unrecognized node: too many'), fields);
  expect(toDatabaseError(thrown, 'tcp', true)).toMatchObject({ kind: 'query', retryable: false, cause: thrown });
});

it.each([
  ['22P02', 'ungültige Eingabesyntax für Typ integer: »geheim«', 'ung…'],
  ['42601', 'erreur de syntaxe dans tsquery : « geheim & & »', 'erreur de syntaxe dans tsquery …'],
  ['42601', 'ошибка синтаксиса в tsvector: "geheim"', '…'],
])('no value is told, whatever marks the server puts it between: %s %s', (code, message, told) => {
  const error = toDatabaseError(Object.assign(new Error(message), { code, severity: 'FEHLER' }), 'tcp', true);
  expect(inspect(error)).not.toContain('geheim');
  expect(error.message).toBe(told);
});

it('what is said of a statement that has no value in it is told', () => {
  const message = 'operator does not exist: tsvector = text';
  const thrown = Object.assign(new Error(message), { code: '42883', severity: 'ERROR' });
  expect(toDatabaseError(thrown, 'tcp', true).message).toBe(message);
});

it('a PANIC is no answer to a COMMIT, which may be in the log that could not be made safe', () => {
  const message = 'could not fdatasync file "000000010000000000000001": Input/output error';
  const fields = { code: '58030', severity: 'PANIC', routine: 'issue_xlog_fsync' };
  for (const transport of ['http', 'websocket', 'tcp'] as const) {
    const error = toDatabaseError(Object.assign(new Error(message), fields), transport, true);
    expect(error).toMatchObject({ kind: 'connection', retryable: false, message });
    expect(commitFailure(error, undefined)).toMatchObject({ kind: 'outcome-unknown', transport, cause: error });
  }
});

it.each<[message: string, severity: string, kind: DatabaseErrorKind, retryable: boolean]>([
  ['"trust" authentication failed', 'FATAL', 'auth', false],
  ['client connections exceeded (max_user_client_connections)', 'FATAL', 'unavailable', true],
  ['server login has been failing, try again later (server_login_retry)', 'FATAL', 'unavailable', true],
  ['query_timeout', 'FATAL', 'unavailable', true], // of a query that waits for a connection to the server
  ['server shutting down', 'FATAL', 'unavailable', true], // to one that would have to wait for one
  ['client_idle_timeout', 'FATAL', 'connection', false], // sent, perhaps, when it had gone already
  ['query timeout', 'FATAL', 'connection', false],
  ['bind message supplies 1 parameters, but prepared statement "" requires 2', 'ERROR', 'query', false],
  ['Bind-Nachricht enthält 1 Parameter, aber vorbereitete Anweisung »« erfordert 2', 'FEHLER', 'query', false],
])('a protocol violation is what its words say: "%s" %s', (message, severity, kind, retryable) => {
  const thrown = Object.assign(new Error(message), { code: '08P01', severity });
  expect(toDatabaseError(thrown, 'tcp', true)).toMatchObject({ kind, retryable });
});

it('a pooler that has lost the server does not know what became of a COMMIT', () => {
  const fields = { code: 'XX000', severity: 'FATAL' };
  const thrown = Object.assign(new Error('unable to read data from DB node 0'), fields); // pgpool-II
  const error = toDatabaseError(thrown, 'tcp', true);
  expect(error).toMatchObject({ kind: 'connection', retryable: false });
  expect(commitFailure(error, undefined).kind).toBe('outcome-unknown');
});

it.each([404, 429, 500, 503])('workerd tells that a handshake was answered with %i: nothing has run', (status) => {
  const expected = 'expected server to reply with HTTP status code 101 (switching protocols)';
  const text = `Uncaught TypeError: Failed to establish the WebSocket connection: ${expected}, but received ${status} instead.`;
  expect(toDatabaseError(new Error(text), 'websocket', false)).toMatchObject({ kind: 'connection', retryable: true });
});

it.each([
  ['504): {"error":"upstream timed out","should_retry":true}', 'unavailable'],
  ['504): <p>Access is not allowed</p>', 'unavailable'],
  ['502): {"error":"bad gateway","client_connection":"close"}', 'unavailable'],
])('what stands between says of its own accord does not make it safe to do again: "%s"', (status, kind) => {
  const error = toDatabaseError(new Error(`Server error (HTTP status ${status}`), 'http', true);
  expect(error).toMatchObject({ kind, retryable: false });
  expect(commitFailure(error, undefined).kind).toBe('outcome-unknown');
});

// As Node words it: in front is the thread's address, whose digits may be any.
it.each(['08', '23', '28', '40001', '42501', '53', '57014'])(
  'an error of TLS that begins with %s has no SQLSTATE',
  (digits) => {
    const text = `${digits}050C377F0000:error:0A000119:SSL routines:tls_get_more_records:bad record mac`;
    const error = toDatabaseError(new Error(text), 'tcp', true);
    expect(error).toMatchObject({ kind: 'connection', retryable: false });
    expect(commitFailure(error, undefined).kind).toBe('outcome-unknown');
  },
);

it.each<[kind: DatabaseErrorKind, retryable: boolean, readOnly: boolean, expected: boolean]>([
  ['connection', true, false, true], // it was never sent
  ['connection', false, false, false],
  ['connection', false, true, true],
  ['unavailable', true, false, true],
  ['unavailable', false, false, false],
  ['unavailable', false, true, true],
  ['serialization', true, false, true],
  ['timeout', true, false, true], // while it connected
  ['timeout', false, true, false], // it would take as long again
  ['auth', false, true, false],
  ['constraint', false, true, false],
  ['query', false, true, false],
  ['outcome-unknown', false, false, false],
])('after %s, retryable %s, read only %s, it may be sent again: %s', (kind, retryable, readOnly, expected) => {
  expect(mayRepeat(new DatabaseError('', { kind, retryable }), readOnly)).toBe(expected);
});

it('only what lost to a concurrent transaction may be retried where nothing else is said', () => {
  const retryable = (kind: DatabaseErrorKind) => new DatabaseError('', { kind }).retryable;
  expect([retryable('serialization'), retryable('connection')]).toEqual([true, false]);
});

it.each<[kind: DatabaseErrorKind, code: string | undefined, expected: boolean]>([
  ['connection', undefined, true],
  ['unavailable', '57P01', true],
  ['serialization', '40001', true], // it cancelled the read to replay
  ['timeout', undefined, true],
  ['timeout', '57014', false], // it answered
  ['auth', '28P01', false],
  ['constraint', '23505', false],
  ['query', '42601', false],
  ['query', undefined, false], // HTTP status 413
])('by %s %s a replica is unusable: %s', (kind, code, expected) => {
  expect(isReplicaUnusable(new DatabaseError('', { kind, code }))).toBe(expected);
});

it.each<[kind: DatabaseErrorKind, code: string | undefined, expected: DatabaseErrorKind]>([
  ['connection', undefined, 'outcome-unknown'],
  ['connection', '08006', 'outcome-unknown'],
  ['unavailable', undefined, 'outcome-unknown'], // HTTP status 502
  ['unavailable', '57P01', 'outcome-unknown'], // the server goes down
  ['unavailable', '58000', 'outcome-unknown'], // Hyperdrive failed
  ['unavailable', '53100', 'unavailable'],
  ['timeout', undefined, 'outcome-unknown'],
  ['timeout', '57014', 'timeout'], // the server has stopped it
  ['timeout', '25P04', 'outcome-unknown'], // transaction_timeout ends a connection also just after the commit
  ['constraint', '23505', 'constraint'],
  ['serialization', '40001', 'serialization'],
  ['auth', undefined, 'auth'],
  ['auth', '08P01', 'auth'], // PgBouncer's code for whatever it refuses
  ['query', undefined, 'query'],
])('%s %s in answer to COMMIT is %s', (kind, code, expected) => {
  expect(commitFailure(new DatabaseError('', { kind, code }), undefined).kind).toBe(expected);
});

it('a transaction that only reads, or was never sent, has no outcome to be unknown', () => {
  const lost = new DatabaseError('', { kind: 'connection' });
  expect(commitFailure(lost, 'read only')).toBe(lost);
  const unsent = new DatabaseError('', { kind: 'connection', retryable: true });
  expect(commitFailure(unsent, undefined)).toBe(unsent);
});
