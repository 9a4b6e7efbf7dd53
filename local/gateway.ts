import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { listen } from './gateway-listener.ts';
import { relay } from './gateway-relay.ts';
import type { PoolOptions } from './gateway-pool.ts';
import { createRouter, type Provider } from './gateway-routes.ts';
import { createSqlHandler, HTTP_LIMITS, type HttpLimits, POOL } from './gateway-sql.ts';
import type { Upstream } from './gateway-upstream.ts';

export type { Upstream };

export interface GatewayOptions {
  upstream: Upstream;
  /** 0 picks a free one. */
  port: number;
  /** Whose proxy this one stands in for. Default: Neon's. */
  provider?: Provider;
  limits?: Partial<HttpLimits>;
  /** Connections to PostgreSQL for `POST /sql`. */
  pool?: Partial<PoolOptions>;
}

/** Counts since the start. */
export interface GatewayStats {
  /** `POST /sql` requests, batches among them. */
  requests: number;
  batches: number;
  /** WebSockets opened. */
  sockets: number;
  openSockets: number;
}

export interface Gateway {
  port: number;
  stats(): GatewayStats;
  /** Ends every connection and stops listening. Idempotent. */
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

/**
 * Speaks what Neon's proxy speaks to its serverless driver: `POST /sql` and PostgreSQL's protocol over a WebSocket.
 * Any page in a browser can send requests to localhost, so a foreign `Origin` or `Host` is refused.
 * @throws {Error} with code EADDRINUSE when the port is taken
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { upstream, port, provider = 'neon' } = options;
  const stats: GatewayStats = { requests: 0, batches: 0, sockets: 0, openSockets: 0 };
  const router = createRouter(provider, upstream);
  const sql = createSqlHandler({
    upstream,
    stats,
    roleOf: (user) => router(user, 'direct').role,
    limits: { ...HTTP_LIMITS, ...options.limits },
    pool: { ...POOL, ...options.pool },
  });
  const serve = (client: Duplex, authentication: 'cleartext' | 'pass') =>
    void relay(client, { upstream, authentication, route: (user) => router(user, 'direct') });

  const listener = await listen({
    host: HOST,
    port,
    onRequest(request, response) {
      const refusal = refuse(request);
      if (refusal) response.writeHead(403, { 'content-type': 'text/plain' }).end(refusal);
      else sql.handle(request, response);
    },
    refuseUpgrade(request) {
      const reason = refuse(request);
      if (reason) return { status: '403 Forbidden', reason };
      if (provider === 'planetscale' && !addressOf(request)) {
        return { status: '400 Bad Request', reason: 'Use /v2?address=host:port (wsProxy of the driver).\n' };
      }
      return undefined;
    },
    onWebSocket(stream) {
      stats.sockets++;
      stats.openSockets++;
      stream.once('close', () => stats.openSockets--);
      serve(stream, provider === 'neon' ? 'cleartext' : 'pass');
    },
    onPostgres: (socket) => serve(socket, 'pass'),
  });

  let closing: Promise<void> | undefined;
  const close = async () => {
    sql.close();
    await listener.close();
  };
  return { port: listener.port, stats: () => ({ ...stats }), close: () => (closing ??= close()) };
}

/** `host:port` behind PlanetScale's `/v2?address=`. It tells the route; nothing connects to it. */
function addressOf({ url = '' }: IncomingMessage): string | undefined {
  const { pathname, searchParams } = new URL(url, 'http://gateway');
  const address = searchParams.get('address') ?? '';
  return pathname === '/v2' && /^.+:\d+$/.test(address) ? address : undefined;
}

/** Why a request is not answered, if it is not. */
function refuse({ headers: { host, origin } }: IncomingMessage): string | undefined {
  // A page of another site reaches this port with its own Origin, or, by rebinding its DNS name, with its own Host.
  if (!isLoopback(host && `http://${host}`))
    return 'The Host header names another machine: use 127.0.0.1 or localhost.\n';
  if (origin !== undefined && !isLoopback(origin)) return 'Only pages served from this machine may use this gateway.\n';
  return undefined;
}

function isLoopback(url: string | undefined): boolean {
  if (!url || !URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
