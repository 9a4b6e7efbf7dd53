import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Distance, type DistanceOptions, startDistance } from '../../local/distance.ts';
import { startListening } from '../../local/start-listening.ts';
import { PATIENCE } from '../database.ts';

let server: Server | undefined;
let distance: Distance | undefined;

afterEach(async () => {
  await distance?.close();
  server?.close();
});

/** A far server that does `serve` with each connection. */
async function startServer(serve: (socket: Socket) => void, options: Omit<DistanceOptions, 'port' | 'target'>) {
  server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => serve(socket.on('error', () => {})));
  const port = await startListening(server);
  distance = await startDistance({ port: 0, target: { host: '127.0.0.1', port }, ...options });
  return distance;
}

const open = ({ port }: Distance) =>
  connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true }).on('error', () => {});

const echo = (socket: Socket) => void socket.pipe(socket);

/** Sends something to an echo and waits for it. @returns milliseconds */
async function ping(socket: Socket): Promise<number> {
  const start = performance.now();
  socket.write('ping');
  await once(socket, 'data');
  return performance.now() - start;
}

/** Why it closed. */
const closeReason = (socket: Socket) =>
  new Promise<Error | null>((resolve) => {
    socket.once('close', () => resolve(socket.errored));
  });

/** mulberry32: numbers from 0 to 1, the same ones for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Bytes in chunks of random sizes. */
function randomChunks(seed: number, total: number): Buffer[] {
  const random = randomFrom(seed);
  const chunks: Buffer[] = [];
  for (let left = total; left > 0; left -= chunks.at(-1)?.length ?? 0) {
    const size = Math.min(left, 1 + Math.floor(random() * 100_000));
    chunks.push(Buffer.from(Uint8Array.from({ length: size }, () => random() * 256)));
  }
  return chunks;
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('distance', () => {
  it('loses and reorders nothing, both ways at once, under jitter', async () => {
    const [there, back] = [randomChunks(1, 4_000_000), randomChunks(2, 4_000_000)];
    let received: Promise<Buffer> | undefined;
    const serve = (socket: Socket) => {
      received = buffer(socket);
      void pipeline(Readable.from(back), socket);
    };
    const socket = open(await startServer(serve, { rtt: 4, jitter: 5, random: randomFrom(3) }));
    const [answer] = await Promise.all([buffer(socket), pipeline(Readable.from(there), socket)]);
    expect(sha256(answer)).toBe(sha256(Buffer.concat(back)));
    expect(sha256((await received) ?? Buffer.alloc(0))).toBe(sha256(Buffer.concat(there)));
  });

  it('takes a round trip, and the set-up first; both can change while connected', async () => {
    const far = await startServer(echo, { rtt: 40, setupTrips: 2 });
    const socket = open(far);
    // At least: how much longer it takes is the machine's affair. Two ticks of the timer for each way.
    expect(await ping(socket)).toBeGreaterThan(3 * 40 - 4);
    expect(await ping(socket)).toBeGreaterThan(40 - 4);
    far.set({ rtt: 400 });
    expect(await ping(socket)).toBeGreaterThan(400 - 4);
    far.set({ rtt: 0 });
    await vi.waitFor(async () => expect(await ping(socket)).toBeLessThan(400 - 4), PATIENCE);
    socket.destroy();
  });

  it('counts round trips: the set-up, and what was sent after something had come back', async () => {
    const far = await startServer(echo, { rtt: 2 });
    const socket = open(far);
    for (let i = 0; i < 3; i++) await ping(socket);
    expect(far.stats()).toEqual({ connections: 1, roundTrips: 2 + 3 });

    far.set({ rtt: 50 });
    socket.write('one');
    await new Promise((resolve) => setImmediate(resolve));
    socket.write('two'); // on its way before anything came back
    let echoed = '';
    for await (const chunk of socket.setEncoding('utf8')) if ((echoed += chunk).length === 'onetwo'.length) break;
    expect(far.stats().roundTrips).toBe(2 + 4);
  });

  it('ends each direction by itself', async () => {
    const far = await startServer((socket) => void socket.on('end', () => socket.end('all read')).resume(), { rtt: 2 });
    const socket = open(far).end('request');
    expect((await buffer(socket)).toString()).toBe('all read');
  });

  it('passes on a connection that was reset, and a server that is not there', async () => {
    const far = await startServer((socket) => socket.once('data', () => socket.resetAndDestroy()), { rtt: 2 });
    const reset = open(far);
    reset.write('request');
    expect(await closeReason(reset)).toMatchObject({ code: 'ECONNRESET' });

    server?.close();
    expect(await closeReason(open(far))).toMatchObject({ code: 'ECONNRESET' });
  });

  it('makes a sender wait for a receiver that does not read', async () => {
    const total = 256 * 1024 * 1024;
    const chunk = Buffer.alloc(1024 * 1024);
    let sender: Socket | undefined;
    const serve = (socket: Socket) => {
      sender = socket;
      const chunks = function* () {
        for (let sent = 0; sent < total; sent += chunk.length) yield chunk;
      };
      void pipeline(chunks, socket);
    };
    const socket = open(await startServer(serve, { rtt: 0 })).pause();
    let written = 0;
    await vi.waitFor(
      () => {
        const before = written;
        written = sender?.bytesWritten ?? 0;
        expect(written > 0 && written === before).toBe(true);
      },
      { timeout: PATIENCE, interval: 250 },
    );
    expect(written).toBeLessThan(total / 2);
    let received = 0;
    for await (const part of socket) received += (part as Buffer).length;
    expect(received).toBe(total);
  });
});
