import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { createSqlHandler } from './gateway-sql.ts';
import { relay } from './gateway-relay.ts';

/** Where the gateway sends everything: never to a host that a request names. */
export interface Upstream {
  host: string;
  port: number;
}

export interface GatewayOptions {
  upstream: Upstream;
  /** 0 picks a free one. */
  port: number;
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
export async function startGateway({ upstream, port }: GatewayOptions): Promise<Gateway> {
  const stats: GatewayStats = { requests: 0, batches: 0, sockets: 0, openSockets: 0 };
  const sql = createSqlHandler(upstream, stats);
  const server = createServer((request, response) => {
    const refusal = refuse(request);
    if (refusal) {
      response.writeHead(403, { 'content-type': 'text/plain' }).end(refusal);
      return;
    }
    sql.handle(request, response);
  });

  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const refusal = refuse(request);
    if (refusal) {
      socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n${refusal}`);
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      stats.sockets++;
      stats.openSockets++;
      webSocket.once('close', () => stats.openSockets--);
      relay(webSocket, upstream);
    });
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, HOST, resolve);
  });

  let closing: Promise<void> | undefined;
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const webSocket of webSockets.clients) webSocket.terminate();
    server.closeAllConnections();
    await Promise.all([closed, sql.close()]);
  };
  return {
    port: (server.address() as AddressInfo).port,
    stats: () => ({ ...stats }),
    close: () => (closing ??= close()),
  };
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
