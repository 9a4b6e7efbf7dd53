import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { HttpTransport } from './db/transport.ts';

/** Milliseconds after which `fetch` closes an idle connection: servers keep theirs open longer. */
const IDLE_MS = 4_000;

/** https://github.com/nodejs/undici/blob/main/docs/docs/api/DiagnosticsChannel.md */
interface Sent {
  request: { path: string; completed: boolean; aborted: boolean };
  socket: Socket;
}

/** The process's to databases, each with the requests that it may still carry, when the last of these was sent, and its end. */
const connections = new Map<Socket, { requests: Sent['request'][]; since: number; closed: Promise<void> }>();

subscribe('undici:client:sendHeaders', (message) => {
  const { request, socket } = message as Sent;
  const known = connections.get(socket);
  if (request.path !== '/sql' && !known) return;
  const closed =
    known?.closed ??
    new Promise<void>((resolve) => {
      socket.once('close', () => {
        connections.delete(socket);
        resolve();
      });
    });
  const underWay = known?.requests.filter(isUnderWay) ?? [];
  connections.set(socket, { requests: [...underWay, request], since: Date.now(), closed });
});

/**
 * For Node. Before sending, closes the connections of `fetch` that have been idle for too long. `fetch` does this itself, but
 * by a timer, which does not run while the process is frozen between two requests. Meanwhile, the other end may have closed a
 * connection, or forgotten it. A query sent over such a connection fails, sometimes only at its deadline; and as nobody knows
 * whether it has run, it is not retried.
 */
export function freshHttp(http: HttpTransport): HttpTransport {
  return {
    async send(target, statements, signal) {
      const closing: Promise<void>[] = [];
      const now = Date.now(); // by the wall clock, which goes on while a process is frozen; it may also be set back
      for (const [socket, { requests, since, closed }] of connections) {
        const isOld = Math.abs(now - since) > IDLE_MS;
        if (!isOld || requests.some(isUnderWay)) continue;
        socket.destroy();
        closing.push(closed);
      }
      // With its last connection, `fetch` also gives up its pool for a server, although a query waits there already; and when that
      // one has ended, the next pool, and so on: as long as one query follows another, each would have a connection of its own.
      // https://github.com/nodejs/undici/issues/5022
      // But no longer than the query has: nothing else would end the wait.
      if (closing.length > 0) await Promise.race([Promise.all(closing), once(signal, 'abort')]);
      return http.send(target, statements, signal);
    },
  };
}

/** Over HTTP/2, a connection stays open when a request on it is aborted. */
function isUnderWay({ completed, aborted }: Sent['request']): boolean {
  return !completed && !aborted;
}
