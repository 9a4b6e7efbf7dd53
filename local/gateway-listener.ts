import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { WebSocketServer } from 'ws';
import { carryFar } from './distance.ts';
import { hangUp } from './gateway-login.ts';
import type { Simulator } from './gateway-simulation.ts';
import { startListening } from './start-listening.ts';
import { webSocketStream } from './web-socket-stream.ts';

export interface ListenerOptions {
  host: string;
  /** 0 picks a free one. */
  port: number;
  simulator: Simulator;
  onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  /** Why a WebSocket is refused, if it is. */
  refuseUpgrade: (request: IncomingMessage) => { status: string; reason: string } | undefined;
  onWebSocket: (stream: Duplex, request: IncomingMessage) => void;
  /** A client that speaks PostgreSQL's protocol without a WebSocket around it. */
  onPostgres: (stream: Duplex) => void;
}

export interface Listener {
  port: number;
  stats(): { connections: number; openConnections: number; bytesReceived: number; bytesSent: number };
  /** Ends every connection. */
  cut(): void;
  /** Refuses new connections, or accepts them again. */
  refuse(refused: boolean): Promise<void>;
  /** Ends every connection and stops listening. */
  close(): Promise<void>;
}

/** A start-up message begins with its length, which is below 2 ** 24; a TLS handshake with this record type. */
const POSTGRES = 0x00;
const TLS = 0x16;

/** A fatal alert: handshake_failure. */
const TLS_REFUSED = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]);

/** Milliseconds for which a new connection may stay silent. */
const SILENCE = 60_000;

/** One port for every protocol that a client can speak: the first byte tells which it is. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { host, simulator, onRequest, refuseUpgrade, onWebSocket, onPostgres } = options;
  const server = createServer(
    {
      // None: a client must not find its connection closed just as it sends. This also saves a timer per response.
      keepAliveTimeout: 0,
      // A request to upgrade to anything else is answered as if it had not asked for that.
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    },
    onRequest,
  );
  const sockets = new Set<Socket>();
  const total = { connections: 0, bytesReceived: 0, bytesSent: 0 };
  const count = ({ bytesRead, bytesWritten }: Socket, to: typeof total) => {
    to.bytesReceived += bytesRead;
    to.bytesSent += bytesWritten;
  };

  const http = server.listeners('connection');
  const tellApart = (stream: Duplex) => {
    const silent = setTimeout(() => stream.destroy(), SILENCE);
    stream.once('close', () => clearTimeout(silent));
    stream.once('readable', () => {
      clearTimeout(silent);
      const first = stream.read(1) as Buffer | null;
      if (!first) return stream.destroy();
      if (first[0] === TLS) return hangUp(stream, TLS_REFUSED);
      stream.unshift(first);
      if (first[0] === POSTGRES) return onPostgres(stream);
      for (const listener of http) listener.call(server, stream);
    });
  };
  server.removeAllListeners('connection').on('connection', (socket: Socket) => {
    total.connections++;
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      sockets.delete(socket);
      count(socket, total);
    });
    const { stall, rtt, jitter } = simulator.current();
    if (stall) socket.resume().once('end', () => socket.destroy()); // unless it is read, its end goes unnoticed
    else if (rtt === 0 && jitter === 0) tellApart(socket);
    else tellApart(farAway(socket, simulator));
  });

  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = refuseUpgrade(request);
    if (refusal) {
      const { status, reason } = refusal;
      const answer = `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n`;
      hangUp(socket, Buffer.from(answer + reason));
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => onWebSocket(webSocketStream(webSocket), request));
  });

  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = async () => {
    const stopped = new Promise((resolve) => server.close(resolve));
    cut();
    await stopped;
  };
  const port = await startListening(server, options.port, host);
  return {
    port,
    stats() {
      const now = { ...total, openConnections: sockets.size };
      for (const socket of sockets) count(socket, now);
      return now;
    },
    cut,
    async refuse(refused) {
      if (refused && server.listening) await stop();
      else if (!refused && !server.listening) await startListening(server, port, host);
    },
    close: stop,
  };
}

/** The connection as seen from far away: the handshakes of TCP and TLS 1.3 and every round trip take their time. */
function farAway(socket: Socket, simulator: Simulator): Duplex {
  const [far, near] = duplexPair();
  far.on('error', () => {});
  near.on('error', () => near.destroy());
  carryFar(socket, far, { path: simulator.current, setupTrips: 2, random: simulator.jitter });
  near.once('close', () => far.destroy());
  far.once('close', () => near.destroy());
  return near;
}
