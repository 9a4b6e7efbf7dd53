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

// HOST: the address to listen on; without it, all of the machine's addresses.
const { HOST: hostname, PORT } = process.env;
const port = Number(PORT?.trim() || 8787);
if (!(Number.isInteger(port) && port >= 0 && port < 2 ** 16)) {
  throw new RangeError(`PORT must be a whole number from 0 to 65535, not "${PORT}".`);
}

/** If a body fails, @hono/node-server ends the response with the error's message and destroys it: here, that comes first. */
class NodeResponse<Request extends IncomingMessage> extends ServerResponse<Request> {
  override end(...rest: unknown[]): this {
    queueMicrotask(() => {
      if (!this.destroyed) super.end(...(rest as []));
    });
    return this;
  }
}

/** Requests in flight on one connection, where a client pipelines them (browsers and load balancers do not): Node runs them all. */
const MAX_IN_FLIGHT = 100;

// Without a `hostname` to fall back on, a request that names no host, such as a health check in HTTP/1.0, would be refused.
const server = createAdaptorServer({
  async fetch(request, env) {
    // What has arrived on a connection that was closed for having too much in flight, Node goes on to parse.
    if (env.incoming.socket.destroyed) return new Response(null, { status: 503 });
    const response = await app.fetch(request, env);
    env.outgoing.once('close', () => {
      const { errored } = env.outgoing;
      // When a connection breaks, a response queued behind another one also gets an error, although its body has not failed.
      const { errored: isGone, socket } = env.incoming;
      if (errored && (!isGone || socket.errored === errored)) logError(errored, response.headers.get('X-Request-Id'));
    });
    return response;
  },
  hostname: 'localhost',
  // Longer than load balancers keep theirs (AWS's 60 s, Google's 600 s): what they send on a closing connection is lost.
  serverOptions: { keepAliveTimeout: 620_000, ServerResponse: NodeResponse },
});
server.listen(port, hostname || undefined, () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`);
});

// The reader of the log, such as journald, may end first: requests are answered nevertheless.
for (const log of [process.stdout, process.stderr]) log.on('error', () => {});

/** The open connections, each with the response to its last request, and how many of its requests are in flight. */
const connections = new Map<Socket, { last?: ServerResponse; inFlight: number }>();
server.on('connection', (socket: Socket) => {
  connections.set(socket, { inFlight: 0 });
  socket.once('close', () => connections.delete(socket));
});
let isEnding = false;
server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
  const connection = connections.get(socket);
  if (connection) {
    connection.last = response;
    response.once('close', () => connection.inFlight--);
    if (++connection.inFlight > MAX_IN_FLIGHT) socket.destroy();
  }
  if (isEnding) response.shouldKeepAlive = false;
});

/** Milliseconds for which a platform still sends to an instance that it stops: what a closing server has not read is lost. */
const LAST_REQUESTS_MS = 1_000;

/** Turns of the event loop to read what has arrived: each accepts one of up to 511 waiting connections, and the last reads. */
const READING_TURNS = 512;

/** Milliseconds after which no request is waited for any longer: a little more than a database operation may take. */
const END_MS = 61_000;

/** Milliseconds for what is sent before the process ends, as by tracers, which wait for its `beforeExit`. */
const SENDING_MS = 3_000;

/**
 * Ends the process when the requests in flight are answered.
 * @param ms for which it goes on accepting requests, each the last on its connection
 */
async function end(ms: number) {
  if (isEnding) return;
  isEnding = true;
  for (const { last } of connections.values()) if (last) last.shouldKeepAlive = false;
  (server as Server).keepAliveTimeout = 1; // for responses that have begun, and did not say that they are the last
  // Connections that are still open by then wait for a body that does not come.
  setTimeout(() => (server as Server).closeAllConnections(), END_MS).unref();
  await sleep(ms);
  // In a process that was held up, for instance by its CPU limit, the time is over before it has read what arrived in it.
  for (let turn = 0; turn < READING_TURNS; turn++) await setImmediate();
  // Then the process ends by itself, unless a WebSocket whose other end has gone silent keeps it alive.
  server.close(() => void database.close().then(() => setTimeout(() => process.exit(), SENDING_MS).unref()));
  // Connections without a request would keep a closing server open forever.
  for (const [socket, { last }] of connections) if (!last) socket.destroy();
}

// Every time: systemd and npm each send one to all that npm has started, and an unhandled second one would end the process.
process.on('SIGTERM', () => void end(LAST_REQUESTS_MS));

/** Milliseconds after which another Ctrl-C ends the process at once: each arrives twice, from the terminal and through npm. */
const AGAIN_MS = 1_000;

process.on('SIGINT', function interrupt() {
  void end(0);
  setTimeout(() => process.off('SIGINT', interrupt), AGAIN_MS).unref();
});
