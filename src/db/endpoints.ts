import type { ConnectionTarget } from './connection-string.ts';
import { misuse } from './error.ts';

/**
 * Where a provider answers the driver's `POST /sql`.
 * @throws {DatabaseError} for a host that has no such endpoint: the request would carry the password to a stranger
 */
export function httpEndpoint(target: ConnectionTarget): string {
  const { provider, host, port } = target;
  assertReachable(target);
  if (provider === 'local') return `http://${bracketed(host)}:${port}/sql`;
  if (provider === 'planetscale') return `https://${host}/sql`;
  return `https://${host.replace(/^[^.]+\./, 'api.')}/sql`; // the driver's own default
}

/**
 * Where a provider accepts the driver's WebSocket, without the scheme, as the driver wants it.
 * @throws {DatabaseError} for a host that has no such endpoint
 */
export function webSocketAddress(target: ConnectionTarget): string {
  const { provider, host, port, branch } = target;
  assertReachable(target);
  const authority = provider === 'local' ? `${bracketed(host)}:${port}` : host;
  return branch === undefined ? `${authority}/v2` : `${authority}/v2?address=${bracketed(host)}:${port}`;
}

/** @throws {DatabaseError} unless the Neon driver can reach the target */
export function assertReachable({ provider, network, host }: ConnectionTarget): void {
  if (provider !== 'other' && network === 'public') return;
  const why = network === 'private' ? 'is in a private network' : 'is neither Neon nor PlanetScale';
  throw misuse(`${host} ${why}, so it has no HTTP or WebSocket endpoint: use the tcp transport.`);
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
