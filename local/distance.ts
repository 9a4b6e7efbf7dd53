import { connect, createServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { startListening } from './start-listening.ts';

/** How far away the other end is. Milliseconds. */
export interface Path {
  /** Both ways together: each direction takes half of it. */
  rtt: number;
  /** A chunk takes up to this much longer, uniformly distributed. Chunks never overtake each other. */
  jitter?: number | undefined;
}

export interface DistanceOptions extends Path {
  /** 0 picks a free one. */
  port: number;
  host?: string | undefined;
  target: { host: string; port: number };
  /**
   * Round trips before the client can send its first byte: on loopback, the handshakes that cost them are instant, or skipped.
   * Default 2: TCP and TLS 1.3. PostgreSQL's own TLS takes 3, because the client asks for it first; no TLS takes 1.
   */
  setupTrips?: number | undefined;
  /** The source of the jitter, 0 to 1. Default: `Math.random`. */
  random?: (() => number) | undefined;
}

/** Counts since the start. */
export interface DistanceStats {
  connections: number;
  /**
   * Times that a client had to wait for a round trip: those of the set-up, and each time that it sent something for the first
   * time or after something had reached it.
   */
  roundTrips: number;
}

export interface Distance {
  port: number;
  /** Changes the path for what is sent from now on, also on open connections. */
  set(path: Path): void;
  stats(): DistanceStats;
  /** Ends every connection and stops listening. Idempotent. */
  close(): Promise<void>;
}

/** Bytes in flight in one direction before the sender has to wait: a TCP window that is no bottleneck. */
const WINDOW = 4 * 1024 * 1024;

/**
 * A TCP listener that carries every connection to a server on this machine as if it were far away.
 * @throws {Error} with code EADDRINUSE when the port is taken
 */
export async function startDistance(options: DistanceOptions): Promise<Distance> {
  const { host, target, setupTrips = 2, random = Math.random } = options;
  let path: Path = options;
  const stats: DistanceStats = { connections: 0, roundTrips: 0 };
  const sockets = new Set<Socket>();

  // `allowHalfOpen`: each direction ends when its bytes have arrived. `noDelay`: the only delay is the one asked for.
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const server = connect({ ...target, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => {}); // followed by `close`
      socket.once('close', () => sockets.delete(socket));
    }
    stats.connections++;
    stats.roundTrips += setupTrips;
    carryFar(client, server, { path: () => path, setupTrips, random, onRoundTrip: () => stats.roundTrips++ });
  });
  const port = await startListening(listener, options.port, host);

  let closing: Promise<void> | undefined;
  const close = () =>
    new Promise<void>((resolve) => {
      listener.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return {
    port,
    set(changed) {
      path = changed;
    },
    stats: () => ({ ...stats }),
    close: () => (closing ??= close()),
  };
}

export interface FarOptions {
  /** Called for each chunk: the path may change. */
  path: () => Path;
  setupTrips: number;
  random: () => number;
  /** Called each time that the client sends something for the first time or after something has reached it. */
  onRoundTrip?: () => void;
}

/** Carries bytes between two streams as if they were far apart. */
export function carryFar(client: Duplex, server: Duplex, options: FarOptions): void {
  const { path, setupTrips, random, onRoundTrip } = options;
  const oneWay = () => path().rtt / 2 + (path().jitter ?? 0) * random();
  const established = performance.now() + setupTrips * path().rtt;
  let clientsTurn = true;
  startLane({
    from: client,
    to: server,
    arrival: (now) => Math.max(now, established) + oneWay(),
    onTaken() {
      if (clientsTurn) onRoundTrip?.();
      clientsTurn = false;
    },
  });
  startLane({
    from: server,
    to: client,
    arrival: (now) => now + oneWay(),
    onDelivered() {
      clientsTurn = true;
    },
  });
}

interface LaneOptions {
  from: Duplex;
  to: Duplex;
  /** When something sent now arrives, on the clock of `performance.now()`. */
  arrival: (now: number) => number;
  onTaken?: () => void;
  onDelivered?: () => void;
}

/** One direction: a queue in the order sent, and one timer for its head. A timer per chunk would let them overtake. */
function startLane({ from, to, arrival, onTaken, onDelivered }: LaneOptions): void {
  const queue: { due: number; item: Buffer | 'end' | 'reset' }[] = [];
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;

  const take = (item: Buffer | 'end' | 'reset') => {
    queue.push({ due: arrival(performance.now()), item });
    if (timer === undefined) deliver();
  };

  const deliver = () => {
    timer = undefined;
    while (!to.destroyed && !to.writableNeedDrain) {
      const [head] = queue;
      if (!head) return;
      const wait = head.due - performance.now();
      // Timers tick in whole milliseconds: half a tick early or late is as close as they get.
      if (wait >= 0.5) {
        timer = setTimeout(deliver, Math.round(wait));
        return;
      }
      queue.shift();
      hand(head.item);
    }
  };

  const hand = (item: Buffer | 'end' | 'reset') => {
    if (item === 'end') to.end();
    else if (item === 'reset') reset(to);
    else {
      onDelivered?.();
      to.write(item);
      bytes -= item.length;
      if (bytes < WINDOW) from.resume();
    }
  };

  from.on('data', (chunk: Buffer) => {
    onTaken?.();
    bytes += chunk.length;
    if (bytes >= WINDOW) from.pause();
    take(chunk);
  });
  from.once('end', () => take('end'));
  from.once('close', () => {
    if (from.errored || !from.readableEnded) take('reset');
  });
  to.on('drain', () => {
    if (timer === undefined) deliver();
  });
  to.once('close', () => clearTimeout(timer));
}

function reset(stream: Duplex): void {
  if (stream instanceof Socket) stream.resetAndDestroy();
  else stream.destroy();
}
