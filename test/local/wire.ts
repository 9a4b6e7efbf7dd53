import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { expect, vi } from 'vitest';
import { WebSocket } from 'ws';
import { message, query, readMessage, startupMessage, typeOf } from '../../local/postgres-messages.ts';
import { webSocketStream } from '../../local/web-socket-stream.ts';
import { PATIENCE } from '../database.ts';

/** PostgreSQL's protocol by hand, for what no driver would send. */
export interface Wire {
  stream: Duplex;
  send(...messages: Buffer[]): void;
  /** Messages up to one of these types, that one included. */
  until(types: string): Promise<Buffer[]>;
  close(): void;
}

export function overTcp(port: number): Wire {
  const socket: Socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  return wire(socket);
}

/** @param url `ws://…` */
export async function overWebSocket(url: string): Promise<Wire> {
  const webSocket = new WebSocket(url);
  await new Promise((resolve, reject) => webSocket.once('open', resolve).once('error', reject));
  return wire(webSocketStream(webSocket));
}

function wire(stream: Duplex): Wire {
  return {
    stream,
    send: (...messages) => void stream.write(Buffer.concat(messages)),
    async until(types) {
      const received: Buffer[] = [];
      for (;;) {
        const next = await readMessage(stream);
        received.push(next);
        if (types.includes(typeOf(next))) return received;
      }
    },
    close: () => stream.destroy(),
  };
}

/** The start-up message for a connection string, and the answer to a request for a cleartext password. */
export function logInMessages(connectionString: string): { startup: Buffer; password: Buffer } {
  const { username, password, pathname } = new URL(connectionString);
  return {
    startup: startupMessage({ user: decodeURIComponent(username), database: pathname.slice(1) }),
    password: message('p', `${decodeURIComponent(password)}\0`),
  };
}

/** An ErrorResponse's fields by their codes. */
export function errorFields(error: Buffer): Record<string, string> {
  const fields = error.toString('utf8', 5).split('\0').filter(Boolean);
  return Object.fromEntries(fields.map((field) => [field[0], field.slice(1)]));
}

/** Resolves when a number that has begun to grow, such as that of the messages sent, no longer does. */
export async function untilStill(count: () => number): Promise<void> {
  let last = 0;
  const isStill = () => {
    const earlier = last;
    last = count();
    return last > 0 && last === earlier;
  };
  await vi.waitFor(() => expect(isStill()).toBe(true), { timeout: PATIENCE, interval: 500 });
}

export { message, query, typeOf };
