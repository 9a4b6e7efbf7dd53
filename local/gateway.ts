import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { startControl } from './gateway-control.ts';
import { type Listener, listen } from './gateway-listener.ts';
import { isLoopback, refuseForeign } from './gateway-origin.ts';
import { behindProxy } from './gateway-parameters.ts';
import type { PoolOptions } from './gateway-pool.ts';
import { createRelay } from './gateway-relay.ts';
import { createRouter, type Entrance, entranceOf, type Provider } from './gateway-routes.ts';
import { createSimulator, type Simulation } from './gateway-simulation.ts';
import { createSqlHandler, HTTP_LIMITS, type HttpLimits, POOL } from './gateway-sql.ts';
import { parseUpstream, type Upstream } from './gateway-upstream.ts';
import type { Parameters } from './postgres-messages.ts';

export interface GatewayOptions {
  /** The server behind it, or its `postgresql://` URL, of which only host, port and TLS count. */
  upstream: Upstream | string;
  /** The direct route. 0 picks a free one, as for every port. */
  port: number;
  /** The route through a transaction pooler. Default: a free one. */
  poolerPort?: number;
  /** A read-only server, for the route to a replica; and, if the gateway stands in for Neon, the port that leads there. */
  replica?: Upstream;
  replicaPort?: number;
  /** `GET /stats`, `GET /simulate`, `POST /simulate`. Default: none. */
  controlPort?: number;
  /** Default: only this machine. */
  host?: string;
  /** Whose proxy this one stands in for. Default: Neon's. */
  provider?: Provider;
  limits?: Partial<HttpLimits>;
  /** Connections to PostgreSQL for `POST /sql`. */
  pool?: Partial<PoolOptions>;
  /** What goes wrong. Default: nothing. */
  simulation?: Partial<Simulation>;
}

/** Counts since the start. */
export interface GatewayStats {
  /** `POST /sql` requests, including batches. */
  requests: number;
  batches: number;
  /** WebSockets opened. */
  sockets: number;
  openSockets: number;
  /** TCP connections of every kind, and their bytes. */
  connections: number;
  openConnections: number;
  bytesReceived: number;
  bytesSent: number;
}

export interface Gateway {
  url: string;
  /** As in a URL. */
  hostname: string;
  port: number;
  poolerPort: number;
  replicaPort: number | undefined;
  controlPort: number | undefined;
  stats(): GatewayStats;
  simulation(): Simulation;
  /**
   * Changes what goes wrong. Turning distance on or off, refusing and stalling end all open connections.
   * @throws {TypeError} that names an invalid setting
   */
  simulate(changes: Partial<Simulation>): Promise<Simulation>;
  /** Ends every connection and stops listening. Idempotent. */
  close(): Promise<void>;
}

/**
 * Speaks what Neon's proxy speaks to its serverless driver: `POST /sql`, and PostgreSQL's protocol over a WebSocket. It also
 * speaks that protocol over TCP.
 * @throws {Error} with code EADDRINUSE when a port is taken
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { port, host = '127.0.0.1', provider = 'neon', replica } = options;
  const upstream = typeof options.upstream === 'string' ? parseUpstream(options.upstream) : options.upstream;
  const router = createRouter(provider, upstream, replica);
  const counts = { requests: 0, batches: 0, sockets: 0, openSockets: 0 };
  const listeners = new Map<Entrance, Listener>();
  const anyHost = !isLoopback(host);
  if (anyHost) process.emitWarning(`The gateway listens on ${host}: other machines can reach it, without encryption.`);

  const simulator = createSimulator(options.simulation ?? {});
  const sql = createSqlHandler({
    counts,
    simulator,
    limits: { ...HTTP_LIMITS, ...options.limits },
    pool: { ...POOL, ...options.pool },
  });
  const passOn = provider === 'neon' ? behindProxy : (parameters: Parameters) => parameters;
  const relay = createRelay({ upstream, simulator, passOn });
  /** The route that an address names, whose port may be the provider's own or this gateway's. */
  const entranceFor = (arrived: Entrance, namedPort: number) =>
    provider === 'planetscale' ? entranceOf(namedPort, listeners, arrived) : arrived;

  const open = async (entrance: Entrance, openPort: number) => {
    const serve = (stream: Duplex, authentication: 'cleartext' | 'pass', at: Entrance) =>
      void relay(stream, authentication, (user) => router(user, at));
    const listener = await listen({
      host,
      port: openPort,
      simulator,
      onRequest(request, response) {
        const refusal = refuseForeign(request, anyHost);
        if (refusal) response.writeHead(403, { 'content-type': 'text/plain' }).end(refusal);
        else sql.handle(request, response, (user, namedPort) => router(user, entranceFor(entrance, namedPort)));
      },
      refuseUpgrade(request) {
        const reason = refuseForeign(request, anyHost);
        if (reason) return { status: '403 Forbidden', reason };
        if (provider === 'planetscale' && !addressOf(request)) {
          return { status: '400 Bad Request', reason: 'Use /v2?address=host:port (wsProxy of the driver).\n' };
        }
        return undefined;
      },
      onWebSocket(stream, request) {
        counts.sockets++;
        counts.openSockets++;
        stream.once('close', () => counts.openSockets--);
        const namedPort = Number(addressOf(request)?.split(':').at(-1));
        serve(stream, provider === 'neon' ? 'cleartext' : 'pass', entranceFor(entrance, namedPort));
      },
      onPostgres: (stream) => serve(stream, 'pass', entrance),
    });
    listeners.set(entrance, listener);
    return listener.port;
  };

  const simulate = async (changes: Record<string, unknown>): Promise<Simulation> => {
    const before = simulator.current();
    const now = simulator.change(changes);
    const isFar = ({ rtt, jitter }: Simulation) => rtt > 0 || jitter > 0;
    for (const listener of listeners.values()) {
      if (isFar(now) !== isFar(before) || now.stall !== before.stall) listener.cut();
      await listener.refuse(now.refuse);
    }
    return now;
  };
  const stats = () => {
    const all = [...listeners.values()].map((listener) => listener.stats());
    const sum = (name: keyof (typeof all)[number]) => all.reduce((total, one) => total + one[name], 0);
    return {
      ...counts,
      connections: sum('connections'),
      openConnections: sum('openConnections'),
      bytesReceived: sum('bytesReceived'),
      bytesSent: sum('bytesSent'),
    };
  };
  let control: Awaited<ReturnType<typeof startControl>> | undefined;
  const close = async () => {
    sql.close();
    await Promise.all([...listeners.values(), ...(control ? [control] : [])].map((one) => one.close()));
  };

  try {
    const openPort = await open('direct', port);
    const poolerPort = await open('pooled', options.poolerPort ?? 0);
    const replicaPort = replica && provider === 'neon' ? await open('replica', options.replicaPort ?? 0) : undefined;
    if (options.controlPort !== undefined) {
      control = await startControl(options.controlPort, { simulation: simulator.current, simulate, stats });
    }
    await simulate({});
    let closing: Promise<void> | undefined;
    const hostname = hostnameOf(host);
    return {
      url: `http://${hostname}:${openPort}`,
      hostname,
      port: openPort,
      poolerPort,
      replicaPort,
      controlPort: control?.port,
      stats,
      simulation: simulator.current,
      simulate: (changes) => simulate({ ...changes }),
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The host name by which a client on this machine reaches an address that is listened on. */
function hostnameOf(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

/** What a request's path is relative to. */
const BASE = 'http://gateway';

/** `host:port` from PlanetScale's `/v2?address=`. It selects the route; nothing connects to it. */
function addressOf({ url = '' }: IncomingMessage): string | undefined {
  if (!URL.canParse(url, BASE)) return undefined;
  const { pathname, searchParams } = new URL(url, BASE);
  const address = searchParams.get('address') ?? '';
  return pathname === '/v2' && /^.+:\d+$/.test(address) ? address : undefined;
}
