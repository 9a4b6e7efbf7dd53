import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
import { logError } from '../src/problem.ts';
import { CARRIED, serverTransports } from '../src/server-transports.ts';

const config = parseConfig(process.env, CARRIED);
const { app, database } = createApp(config, {
  transports: await serverTransports(config.transport),
  sockets: 'instance',
});

// HOST: the address to listen on; all of the machine's without it.
const { HOST: hostname, PORT } = process.env;
const port = Number(PORT?.trim() || 8787);
if (!(Number.isInteger(port) && port >= 0 && port < 2 ** 16)) {
  throw new RangeError(`PORT must be a whole number from 0 to 65535, not "${PORT}".`);
}

/** Where a body fails, @hono/node-server ends the response with the error's message and destroys it: here, that comes first. */
class NodeResponse<Request extends IncomingMessage> extends ServerResponse<Request> {
  override end(...rest: unknown[]): this {
    queueMicrotask(() => {
      if (!this.destroyed) super.end(...(rest as []));
    });
    return this;
  }
}

// Without a name to fall back on, a request that names no host, a health check in HTTP/1.0 for one, is refused.
const server = createAdaptorServer({
  async fetch(request, env) {
    const response = await app.fetch(request, env);
    env.outgoing.once('close', () => {
      const { errored } = env.outgoing;
      // Where the connection goes, an answer that another one was still in front of has an error, too: its body has not failed.
      const { errored: isGone, socket } = env.incoming;
      if (errored && (!isGone || socket.errored === errored)) logError(errored, response.headers.get('X-Request-Id'));
    });
    return response;
  },
  hostname: 'localhost',
  // Longer than load balancers keep theirs (AWS's 60 s, Google's 600 s): what one sends on a connection that closes is lost.
  serverOptions: { keepAliveTimeout: 620_000, ServerResponse: NodeResponse },
});
server.listen(port, hostname || undefined, () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`);
});

// Whoever reads the log, journald for one, may end first: requests are answered all the same.
for (const log of [process.stdout, process.stderr]) log.on('error', () => {});

/** What is open, with the response to its last request. */
const connections = new Map<Socket, ServerResponse | undefined>();
server.on('connection', (socket: Socket) => {
  connections.set(socket, undefined);
  socket.once('close', () => connections.delete(socket));
});
let isEnding = false;
server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
  connections.set(socket, response);
  if (isEnding) response.shouldKeepAlive = false;
});

/** Milliseconds in which a platform that ends an instance still sends to it: what a server that closes has not read is lost. */
const LAST_REQUESTS_MS = 1_000;

/** Turns of the event loop that read what has arrived: each takes one of the 511 connections that may wait, and the last reads. */
const READING_TURNS = 512;

/** Milliseconds after which nobody is waited for: a little more than an operation on the database may take. */
const END_MS = 61_000;

/**
 * Ends the process when the requests in flight are answered.
 * @param ms in which it goes on taking requests, each the last on its connection
 */
async function end(ms: number) {
  if (isEnding) return;
  isEnding = true;
  for (const response of connections.values()) if (response) response.shouldKeepAlive = false;
  (server as Server).keepAliveTimeout = 1; // where an answer has begun, and did not say that it is the last
  // What is still open then waits for a body that does not come.
  setTimeout(() => (server as Server).closeAllConnections(), END_MS).unref();
  await sleep(ms);
  // In a process that was held up, by its limit of CPU for one, the time is over before it has read what came in it.
  for (let turn = 0; turn < READING_TURNS; turn++) await setImmediate();
  // A WebSocket whose other end says no more stays open, and would keep the process.
  server.close(() => void database.close().then(() => process.exit()));
  // Without a request they would keep a server that closes open for ever.
  for (const [socket, response] of connections) if (!response) socket.destroy();
}

// As often as it comes: systemd and npm each send one to all that npm has started, and a second would end the process at once.
process.on('SIGTERM', () => void end(LAST_REQUESTS_MS));

/** Milliseconds after which a second Ctrl-C is a second wish, and ends the process at once: it arrives twice, from the terminal and through npm. */
const AGAIN_MS = 1_000;

process.on('SIGINT', function interrupt() {
  void end(0);
  setTimeout(() => process.off('SIGINT', interrupt), AGAIN_MS).unref();
});
