import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, isIP, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { isLoopback } from './gateway-origin.ts';
import { cancelRequest, int32, message, readBytes, socketPath, SSL_REQUEST } from './postgres-messages.ts';

/** Where the gateway sends everything: never to a host that a request names. */
export interface Upstream {
  /** A name or an address; or, beginning with a slash, the directory of a Unix socket, as for libpq. */
  host: string;
  port: number;
  /** Encrypts with these options; without them, the connection is not encrypted. */
  tls?: ConnectionOptions;
}

/**
 * Where a `postgresql://` URL leads. Its user and password are not used: clients log in as themselves.
 * @throws {Error} never with the URL, which holds a password
 */
export function parseUpstream(url: string): Upstream {
  // No @ after the authority: one there means that it ended inside the password, part of which would be printed as the host.
  if (!/^postgres(ql)?:\/\/[^/?#]*[^@]*$/.test(url) || !URL.canParse(url))
    throw new Error('The upstream must be a postgresql:// URL: percent-encode @ / # ? %');
  const { hostname, port, searchParams } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (host === '') throw new Error('The upstream URL names no host.');
  const mode = searchParams.get('sslmode') ?? (isLoopback(host) ? 'disable' : 'verify-full');
  const rootCertificate = searchParams.get('sslrootcert');
  const address = { host, port: Number(port || 5432) };
  switch (mode) {
    case 'disable':
      return address;
    case 'no-verify':
      return { ...address, tls: { rejectUnauthorized: false } };
    case 'require':
    case 'verify-full':
      // libpq's word for the certificates that the system trusts.
      if (rootCertificate === null || rootCertificate === 'system') return { ...address, tls: {} };
      return { ...address, tls: { ca: readFileSync(rootCertificate) } };
    default:
      throw new Error(`The upstream URL's sslmode must be disable, no-verify, require or verify-full, not ${mode}.`);
  }
}

/** Milliseconds. */
export const CONNECT_DEADLINE = 10_000;

/** A connection to the server on which nothing but encryption has been negotiated. */
export async function connectUpstream({ host, port, tls }: Upstream): Promise<Socket> {
  const signal = AbortSignal.timeout(CONNECT_DEADLINE);
  const address = host.startsWith('/') ? { path: socketPath(host, port) } : { host, port, noDelay: true };
  const socket = ignoringErrors(connect(address));
  const giveUp = () => socket.destroy(); // which also ends the wait for an answer
  signal.addEventListener('abort', giveUp);
  try {
    await once(socket, 'connect', { signal });
    if (!tls) return socket;
    socket.write(int32(8, SSL_REQUEST));
    const [answer] = await readBytes(socket, 1);
    if (answer !== 'S'.charCodeAt(0)) throw new Error('the server does not support TLS');
    const secure = ignoringErrors(connectTls({ host, ...(!isIP(host) && { servername: host }), ...tls, socket }));
    await once(secure, 'secureConnect', { signal });
    return secure;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** Asks the server to cancel what a connection is running, if anything. Resolves when it has heard that, or never will. */
export async function cancel(upstream: Upstream, key: Buffer): Promise<void> {
  const socket = await connectUpstream(upstream).catch(() => undefined);
  if (!socket) return;
  socket.setTimeout(CONNECT_DEADLINE, () => socket.destroy());
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume().write(cancelRequest(key)); // the server ends it: if we did, a proxy in between might drop the request
  await closed;
}

/**
 * Cancels what a connection is running, and gives up the connection. The cancel request may overtake the statement that it is
 * for, and is repeated until the server has closed the connection.
 */
export async function stop(upstream: Upstream, { socket, key }: { socket: Socket; key: Buffer }): Promise<void> {
  socket.removeAllListeners('data').resume();
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const tooLong = setTimeout(CONNECT_DEADLINE, undefined, { ref: false }); // in total: a silent server must not keep a place
  for (let ms = 50; ms < 1_000 && !socket.destroyed; ms *= 2) {
    await Promise.race([closed, tooLong, cancel(upstream, key)]);
    await Promise.race([closed, setTimeout(ms, undefined, { ref: false })]);
    socket.write(message('X', '')); // Terminate. Not before: a pooler forgets the key of a client that leaves
  }
  socket.destroy();
}

/** An error is followed by `close`, and that is what callers listen for. */
function ignoringErrors<S extends Socket>(socket: S): S {
  return socket.on('error', () => {});
}
