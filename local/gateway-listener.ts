import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { webSocketStream } from './web-socket-stream.ts';

export interface ListenerOptions {
  host: string;
  /** 0 picks a free one. */
  port: number;
  onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  /** Why a WebSocket is not accepted, if it is not. */
  refuseUpgrade: (request: IncomingMessage) => { status: string; reason: string } | undefined;
  onWebSocket: (stream: Duplex, request: IncomingMessage) => void;
  /** A client that speaks PostgreSQL's protocol without a WebSocket around it. */
  onPostgres: (socket: Socket) => void;
}

export interface Listener {
  port: number;
  /** Ends every connection and stops listening. */
  close(): Promise<void>;
}

/** A start-up message begins with its length, which is below 2 ** 24; a TLS handshake with this record type. */
const POSTGRES = 0x00;
const TLS = 0x16;

/** A fatal alert: handshake_failure. */
const TLS_REFUSED = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]);

/** One port for everything that a client can speak: the first byte tells what it is. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { host, port, onRequest, refuseUpgrade, onWebSocket, onPostgres } = options;
  const server = createServer(
    // Anything else that a client offers to upgrade to is answered as if it had not.
    { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket' },
    onRequest,
  );
  const sockets = new Set<Socket>();
  const http = server.listeners('connection');
  server.removeAllListeners('connection').on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).once('close', () => sockets.delete(socket));
    socket.once('readable', () => {
      const first = socket.read(1) as Buffer | null;
      if (!first) return socket.destroy();
      if (first[0] === TLS) return socket.end(TLS_REFUSED);
      socket.unshift(first);
      if (first[0] === POSTGRES) return onPostgres(socket);
      for (const listener of http) listener.call(server, socket);
    });
  });

  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = refuseUpgrade(request);
    if (refusal) {
      const { status, reason } = refusal;
      socket.end(`HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n${reason}`);
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => onWebSocket(webSocketStream(webSocket), request));
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
