import type { LoggedIn } from './gateway-login.ts';
import { stop, type Upstream } from './gateway-upstream.ts';
import { query } from './postgres-messages.ts';
import { splitMessages } from './split-messages.ts';

/** Takes the server's answer, in its own messages: type and length, then the body. */
export interface Sink {
  /** @throws what the flight is to fail with; the connection is given up */
  receive(type: string, message: Buffer): void;
  /** Bytes; a longer message is not even read. */
  maxBytes: number;
}

export interface Session {
  /**
   * Sends flights, messages that end with one Sync each, and resets the session after them. Resolves when they are answered.
   * @param commit sent only once the sink has taken all that they answer: what it refuses is rolled back
   * @throws what the sink throws; ConnectionLost when the server is gone
   */
  run(flights: readonly Buffer[], sink: Sink, commit?: Buffer): Promise<void>;
  /** False as soon as its connection is gone, which the pool learns only a turn of the event loop later. */
  readonly usable: boolean;
  /** Cancels what is running, and gives up the connection. */
  cancel(): void;
  close(): void;
}

interface Running {
  sink: Sink;
  /** That are not answered. */
  flights: number;
  commit: Buffer | undefined;
  resolve: () => void;
  reject: (error: unknown) => void;
}

const LOST = 'the connection to the database was lost';

export class ConnectionLost extends Error {}

/** Undoes whatever may be left behind in a session, but does not work inside a transaction. */
const RESET = query('DISCARD ALL');
const RESET_AFTER_TRANSACTION = Buffer.concat([query('ROLLBACK'), RESET]);

/**
 * A connection for one flight after another, none of which sees what the one before left behind.
 * @param onReset it can be used (again); @param onClosed it cannot
 */
export function createSession(
  server: LoggedIn,
  upstream: Upstream,
  onReset: (session: Session) => void,
  onClosed: (session: Session) => void,
): Session {
  const { socket } = server;
  let running: Running | undefined;
  /** ReadyForQuery messages that the reset is still waiting for. */
  let resetting = 0;
  let discarded = false;

  const giveUp = (error: unknown) => {
    if (running) void stop(upstream, server);
    else socket.destroy();
    running?.reject(error);
    running = undefined;
  };
  const onMessage = (type: string, message: Buffer) => {
    if (running) {
      if (type !== 'Z' || --running.flights > 0) return running.sink.receive(type, message);
      const { commit, resolve } = running;
      if (commit) {
        running.commit = undefined;
        running.flights = 1;
        socket.write(Buffer.concat([commit, RESET])); // after a failed statement, COMMIT rolls back
        return undefined;
      }
      running = undefined;
      resetting = 1;
      resolve();
    } else if (type === 'C') {
      discarded = message.toString('latin1', 5, message.length - 1) === 'DISCARD ALL';
    } else if (type === 'Z' && --resetting === 0) {
      if (discarded) onReset(session);
      // The flight left a transaction open, in which nothing can be discarded.
      else if (message[5] === 'I'.charCodeAt(0)) socket.destroy();
      else {
        socket.write(RESET_AFTER_TRANSACTION);
        resetting = 2;
      }
    }
  };
  const onLong = (length: number) => {
    if (running && length > running.sink.maxBytes) running.sink.receive('tooLong', Buffer.alloc(0));
  };
  const onData = splitMessages({ onMessage, onLong });

  const session: Session = {
    get usable() {
      return !socket.destroyed;
    },
    run(flights, sink, commit) {
      if (!session.usable) return Promise.reject(new ConnectionLost(LOST));
      discarded = false;
      return new Promise((resolve, reject) => {
        running = { sink, flights: flights.length, commit, resolve, reject };
        socket.write(Buffer.concat(commit ? flights : [...flights, RESET])); // one system call
      });
    },
    cancel: () => giveUp(new ConnectionLost(LOST)),
    close: () => socket.destroy(),
  };
  socket.on('data', (chunk) => {
    try {
      onData(chunk);
    } catch (error) {
      giveUp(error);
    }
  });
  socket.on('end', () => socket.destroy());
  socket.on('close', () => {
    giveUp(new ConnectionLost(LOST));
    onClosed(session);
  });
  socket.resume();
  return session;
}
