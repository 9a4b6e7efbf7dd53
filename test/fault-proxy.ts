import { connect, createServer, type Socket } from 'node:net';
import { anyFreePort } from '../local/ports.ts';

/** Something between a driver and its server that fails on demand, at the level of TCP. */
export interface FaultProxy {
  port: number;
  /** Connections taken since the start. */
  connections(): number;
  /** What the server sends, its end included, goes nowhere from now on, but for a connection's first `packets`; or goes on. */
  stall(stalled: boolean, packets?: number): void;
  /** Resets every connection as soon as the server answers anything: the request has arrived, its answer is lost. */
  loseAnswers(lost: boolean): void;
  /**
   * What comes over the connections that are open now reaches the server so many milliseconds later, even when they close.
   * Resolves when the first of it has come.
   */
  delay(ms: number): Promise<void>;
  /** Cuts a packet off in the middle, whichever way it goes, and resets its connection, so often of 1; or no longer. */
  cut(share: number): void;
  /** Resets every connection now, as a peer that lost its memory does. */
  reset(): void;
  close(): Promise<void>;
}

interface Pair {
  client: Socket;
  server: Socket;
  /** Milliseconds. */
  late: number;
  onLate?: () => void;
}

/** @param given of an earlier one, which has been closed */
export async function startFaultProxy(target: { port: number }, given?: number): Promise<FaultProxy> {
  const port = given ?? (await anyFreePort()); // which nothing takes while it is closed, as it may one that the system chose
  const pairs = new Set<Pair>();
  let connections = 0;
  let stalled = false;
  let passing = 0;
  let lossy = false;
  let cutShare = 0;
  const listener = createServer((client) => {
    connections++;
    const server = connect(target.port, '127.0.0.1');
    const pair: Pair = { client, server, late: 0 };
    const later = (step: () => void) => {
      if (!pair.late) return step();
      setTimeout(step, pair.late);
      pair.onLate?.();
    };
    let packets = 0;
    pairs.add(pair);
    const pass = (chunk: Buffer, to: Socket) => {
      if (Math.random() >= cutShare) return to.write(chunk);
      to.write(chunk.subarray(0, Math.random() * chunk.length));
      return client.resetAndDestroy();
    };
    client.on('data', (chunk) => later(() => pass(chunk, server)));
    client.on('end', () => later(() => server.end()));
    server.on('data', (chunk) => {
      if (lossy) client.resetAndDestroy();
      else if (!stalled || packets++ < passing) pass(chunk, client);
    });
    server.on('end', () => stalled || client.end());
    for (const socket of [client, server]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        if (stalled && socket === server) return;
        pairs.delete(pair);
        client.destroy();
        later(() => server.destroy());
      });
    }
  });
  await new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve));
  return {
    port,
    connections: () => connections,
    stall(value, packets = 0) {
      stalled = value;
      passing = packets;
    },
    loseAnswers: (value) => (lossy = value),
    delay: (ms) =>
      new Promise((onLate) => {
        for (const pair of pairs) Object.assign(pair, { late: ms, onLate });
      }),
    cut: (share) => (cutShare = share),
    reset() {
      for (const { client } of pairs) client.resetAndDestroy();
    },
    async close() {
      for (const { client } of pairs) client.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
