import { DatabaseError } from '../error.ts';

/** The most that workerd's PBKDF2 computes, and a limit on the work that a server can demand. PostgreSQL's default is 4096. */
const MAX_ITERATIONS = 100_000;

/** RFC 5802, section 7: printable ASCII without the comma, base64, a number from 1; then extensions. */
const SERVER_FIRST = /^r=([!-+\--~]+),s=([^,]+),i=([1-9]\d*)(,|$)/;

/** `Hi()` of RFC 5802: the expensive part. The salt is in base64. */
type SaltPassword = (password: string, salt: string, iterations: number) => Promise<ArrayBuffer>;

interface Challenge {
  password: string;
  /** The whole `client-first-message`: `n,,n=…,r=…`. */
  clientFirst: string;
  serverFirst: string;
}

interface Answer {
  clientFinal: string;
  /** What the server has to answer, in base64: for `verifyServerFinal`. */
  serverSignature: string;
}

/**
 * The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, over Web Crypto.
 * @throws {DatabaseError} of kind `auth` when the server is an impostor, refuses, or demands more than 100,000 iterations (the
 *   password has to be set again: a retry does not help); of kind `connection` when its message is not SCRAM
 */
export async function answerChallenge(
  { password, clientFirst, serverFirst }: Challenge,
  saltPassword: SaltPassword = pbkdf2,
): Promise<Answer> {
  // Without its GS2 header, `n,,`: no channel binding. `client-final-message` repeats the header in base64, `biws`.
  const clientFirstBare = clientFirst.slice(3);
  const [, clientNonce] = clientFirstBare.split(',r=') as [string, string];
  const [nonce, salt, iterations] = parseServerFirst(serverFirst, clientNonce);

  const withoutProof = `c=biws,r=${nonce}`;
  const authMessage = `${clientFirstBare},${serverFirst},${withoutProof}`;
  // Only the part of SASLprep (RFC 4013) that changes a password: PostgreSQL accepts those that it forbids. The driver does
  // nothing here; `pg` does, and a password should work over every transport. DI, Default_Ignorable_Code_Point, is nearly what
  // it removes: it keeps a few of them, such as U+200E, and turns U+200B into a space.
  const prepared = password.replace(/\p{DI}/gu, '').normalize('NFKC');
  const saltedPassword = await saltPassword(prepared, salt, iterations);
  const clientKey = await hmac(saltedPassword, 'Client Key');
  const storedKey = await crypto.subtle.digest('SHA-256', clientKey);
  const clientSignature = await hmac(storedKey, authMessage);
  const clientProof = clientKey.map((byte, i) => byte ^ (clientSignature[i] as number));
  const serverKey = await hmac(saltedPassword, 'Server Key');
  return {
    clientFinal: `${withoutProof},p=${toBase64(clientProof)}`,
    serverSignature: toBase64(await hmac(serverKey, authMessage)),
  };
}

/**
 * Checks that the server also knows the password. Its signature has crossed the wire: comparing needs no constant time.
 * @throws {DatabaseError} of kind `auth` when it does not or refuses the log-in; of kind `connection` when its message is
 *   not SCRAM
 */
export function verifyServerFinal(serverFinal: string, serverSignature?: string): void {
  throwServerError(serverFinal);
  const signature = /^v=([^,]*)/.exec(serverFinal)?.[1];
  if (!serverSignature || signature === undefined) throw malformed();
  if (signature !== serverSignature) throw failure('auth', 'the SCRAM signature is wrong: an impostor?');
}

/**
 * A `saltPassword` that remembers its last result: computing it is most of a log-in's cost, and a role keeps its salt as long
 * as its password. Whoever can read the result in memory can read the password there as well.
 */
export function rememberSaltedPassword(): SaltPassword {
  let last: { input: string; saltedPassword: ArrayBuffer } | undefined;
  return async (password, salt, iterations) => {
    const input = `${iterations},${salt},${password}`;
    // The result, not its promise: workerd does not let a request await what another request began.
    if (last?.input !== input) last = { input, saltedPassword: await pbkdf2(password, salt, iterations) };
    return last.saltedPassword;
  };
}

function parseServerFirst(serverFirst: string, clientNonce: string) {
  throwServerError(serverFirst);
  const [, nonce = '', salt, count] = SERVER_FIRST.exec(serverFirst) ?? [];
  if (!salt) throw malformed();
  if (!nonce.startsWith(clientNonce) || nonce === clientNonce) {
    throw failure('auth', 'the SCRAM nonce is wrong: an impostor?');
  }
  const iterations = Number(count);
  if (iterations > MAX_ITERATIONS) {
    throw failure(
      'auth',
      `${iterations} scram_iterations are more than ${MAX_ITERATIONS}: lower it, and set the password`,
    );
  }
  return [nonce, salt, iterations] as const;
}

/** PostgreSQL itself reports errors in its own way; a proxy may not. */
function throwServerError(message: string): void {
  const error = /^e=([a-z-]+)/.exec(message)?.[1];
  if (error) throw failure('auth', `the server refused the log-in: ${error}`);
}

export function malformed(): DatabaseError {
  return failure('connection', 'no valid SCRAM message');
}

/** `auth`: the log-in is refused, by the server or by the client; `connection`: what was said is not SCRAM. */
export function failure(kind: 'auth' | 'connection', message: string): DatabaseError {
  return new DatabaseError(message, { kind, transport: 'websocket' });
}

/** One call; the driver awaits an HMAC for each iteration. */
async function pbkdf2(password: string, salt: string, iterations: number): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey('raw', utf8(password), 'PBKDF2', false, ['deriveBits']);
  return crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: fromBase64(salt), iterations }, key, 256);
}

async function hmac(secret: ArrayBuffer | Uint8Array<ArrayBuffer>, message: string): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8(message)));
}

function utf8(text: string) {
  return new TextEncoder().encode(text);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw malformed();
  }
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
