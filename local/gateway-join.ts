import type { Duplex } from 'node:stream';
import { hangUp, type LoggedIn } from './gateway-login.ts';
import { refuseListen, RESET_TRANSACTION, RESET_TRANSACTION_TAG } from './gateway-pooler.ts';
import type { DropPoint } from './gateway-simulation.ts';
import { stop, type Upstream } from './gateway-upstream.ts';
import { splitMessages } from './split-messages.ts';

export interface JoinOptions {
  /** Resets the session whenever a transaction ends, as behind a transaction pooler. */
  pooled: boolean;
  /** Whether and where the next flight is to be cut. */
  nextDrop: () => DropPoint | undefined;
}

/** Messages that end a client's flight: each is answered with a ReadyForQuery. Query, Sync, FunctionCall. */
const ENDS_FLIGHT = 'QSF';

/** How often a reset is tried: a late cancel request would stop it as well. */
const RESETS = 3;

/** Relays messages between a client and the server that it is logged in to, until either leaves. Back-pressure both ways. */
export function join(client: Duplex, server: LoggedIn, upstream: Upstream, options: JoinOptions): void {
  const { socket } = server;
  const { pooled, nextDrop } = options;
  /** Flights that the server has not answered; whether bytes of one have been sent that has not ended. */
  let pending = 0;
  let flying = false;
  let lastEnd = '';
  /** Whether the server is waiting for COPY data; whether the end of the data was sent before the server said so. */
  let copying = false;
  let copied = false;
  /** Pooled: which try of a reset is running; its answer is not for the client. */
  let resetting = 0;
  let resetTag = '';
  /** Pooled: what the client sent before an answer came. Another session might serve it. */
  const held: (() => void)[] = [];
  /** How many of them have been sent since. */
  let released = 0;
  const isHeld = () => pooled && (resetting > 0 || (pending > 0 && !copying));

  /** Where the flights that the server has not answered are to be cut. */
  const drops: (DropPoint | undefined)[] = [];

  const toServer = (bytes: Buffer) => {
    if (!flying && !copying) {
      flying = true;
      const drop = nextDrop();
      if (drop === 'before') return leave();
      drops.push(drop);
    }
    socket.write(bytes);
  };
  const endFlight = (type: string, message: Buffer) => {
    toServer(message);
    if (copying && type === 'S') return; // COPY swallows it
    flying = false;
    pending++;
    lastEnd = type;
  };
  /** After a COPY in the extended protocol, its Sync is still to come. */
  const endCopy = () => {
    if (copying) flying = pending === 0;
    else copied = true;
    copying = false;
  };
  const inTurn = (step: () => void) => {
    if (isHeld()) held.push(step);
    else step();
  };
  const release = () => {
    socket.cork();
    while (released < held.length && !isHeld()) held[released++]?.();
    socket.uncork();
    // Seldom: to take each out would move all the others.
    if (2 * released >= held.length) {
      held.splice(0, released);
      released = 0;
    }
  };
  const fromClient = splitMessages({
    // If pooled, data as well: a reset must not come in the middle of a message.
    watched: pooled ? `${ENDS_FLIGHT}XcfPd` : `${ENDS_FLIGHT}Xcf`,
    onMessage(type, message) {
      const allowed = pooled ? refuseListen(type, message) : message;
      inTurn(() => {
        if (ENDS_FLIGHT.includes(type)) endFlight(type, allowed);
        // Terminate begins no flight, nor does the rest of a failed COPY, which the server ignores.
        else if (type !== 'P' && !flying && !copying) socket.write(allowed);
        else {
          toServer(allowed);
          if (type === 'c' || type === 'f') endCopy();
        }
      });
    },
    onOther: (bytes) => inTurn(() => toServer(bytes)),
  });

  const reset = () => {
    resetting++;
    resetTag = '';
    socket.write(RESET_TRANSACTION);
  };
  const fromServer = splitMessages({
    watched: 'ZGCSE',
    onMessage(type, message) {
      if (resetting) {
        if (type === 'S') client.write(message); // a setting that the client knows of has changed back
        if (type === 'C' || type === 'E') resetTag = message.toString('latin1', 5);
        if (type !== 'Z') return undefined;
        if (resetTag === '') return client.write(message); // to a Sync behind a COPY that failed before it read anything
        if (resetTag !== RESET_TRANSACTION_TAG) return resetting < RESETS ? reset() : leave();
        resetting = 0;
        return release();
      }
      const [drop] = drops;
      if (drop === 'commit' && type === 'C' && message.toString('latin1', 5) === 'COMMIT\0') return leave();
      if (drop === 'after' && type === 'Z') return leave();
      if (drop !== 'after') client.write(message);
      if (type === 'E' && copying) endCopy();
      if (type !== 'G' && type !== 'Z') return undefined;
      if (type === 'G') {
        copying = !copied;
        if (copying && lastEnd === 'S' && pending > 0) pending--; // it swallows the Sync that was sent ahead
      } else {
        if (pending > 0) pending--; // it is 0 after a COPY that failed before it read anything, the Sync included
        drops.shift();
        copied = false;
        if (pooled && message[5] === 'I'.charCodeAt(0)) reset();
      }
      return release();
    },
    onOther(bytes) {
      if (!resetting && drops[0] !== 'after') client.write(bytes);
    },
  });

  const flow = () => {
    if (socket.writableNeedDrain || held.length > 0) client.pause();
    else if (client.isPaused()) client.resume();
    if (client.writableNeedDrain) socket.pause();
    else if (socket.isPaused()) socket.resume();
  };
  const carry = (to: Duplex, take: (chunk: Buffer) => void) => (chunk: Buffer) => {
    to.cork();
    try {
      take(chunk);
    } catch {
      return leave();
    } finally {
      to.uncork();
    }
    flow();
  };
  /** The server is gone: what the client still sends is discarded, but its end has to be noticed. */
  const end = () => {
    held.length = 0;
    hangUp(client.removeAllListeners('data'));
  };
  let left = false;
  const leave = () => {
    client.destroy();
    if (left) return;
    left = true;
    // A server learns that its client is gone only when it has rows to send; until then it would go on.
    if (pending > 0 || flying) void stop(upstream, server);
    else socket.destroy();
  };

  if (client.destroyed || client.readableEnded) return leave(); // it has gone meanwhile
  client.write(server.greeting);
  client.on('data', carry(socket, fromClient)).on('drain', flow).once('end', leave).once('close', leave);
  socket.on('data', carry(client, fromServer)).on('drain', flow).once('end', end).once('close', end);
}
