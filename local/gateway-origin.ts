import type { IncomingMessage } from 'node:http';

/** The Host header of a request to this machine. Parsing a URL each time would measurably cost requests per second. */
const LOOPBACK_HOST = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i;

/**
 * Why a request is refused, if it is: any page in a browser can send requests to localhost.
 * @param anyHost whether the gateway listens to other machines, too, and so is known by other names
 */
export function refuseForeign({ headers: { host, origin } }: IncomingMessage, anyHost: boolean): string | undefined {
  // A page of another site reaches this port with its own Origin or, by DNS rebinding, with its own Host.
  if (!anyHost && !LOOPBACK_HOST.test(host ?? ''))
    return 'The Host header names another machine: use 127.0.0.1 or localhost.\n';
  if (origin !== undefined && !isLoopbackUrl(origin))
    return 'Only pages served from this machine may use this gateway.\n';
  return undefined;
}

function isLoopbackUrl(url: string): boolean {
  return URL.canParse(url) && isLoopback(new URL(url).hostname);
}

/** Whether a host name or address leads only to this machine itself. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
