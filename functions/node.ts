import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
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
// Without a name to fall back on, a request that names no host, a health check in HTTP/1.0 for one, is refused.
const server = createAdaptorServer({
  fetch: app.fetch,
  hostname: 'localhost',
  // Longer than load balancers keep theirs (AWS's 60 s, Google's 600 s): what one sends on a connection that closes is lost.
  serverOptions: { keepAliveTimeout: 620_000 },
});
server.listen(port, hostname || undefined, () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`);
});

/** Connections that have not sent a request yet: they would keep a server that closes open for ever. */
const silent = new Set<Socket>();
server.on('connection', (socket: Socket) => silent.add(socket.once('close', () => silent.delete(socket))));
let isEnding = false;
server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
  silent.delete(socket);
  // Who goes on asking on a connection that is open would keep the server, too.
  if (isEnding) response.shouldKeepAlive = false;
});

/** Milliseconds in which who has connected is accepted; under more load than that it would never end. */
const ACCEPT_MS = 1_000;

/** Accepts who has connected: one at each turn of the event loop. A server that closes before resets them, requests and all. */
async function acceptWaiting() {
  let idleTurns = 0;
  server.on('connection', () => (idleTurns = 0));
  const until = performance.now() + ACCEPT_MS;
  while (idleTurns < 3 && performance.now() < until) {
    idleTurns++;
    // oxlint-disable-next-line no-await-in-loop -- one turn after another is what it is about
    await nextTurn();
  }
}

/** Milliseconds after which nobody is waited for: a little more than an operation on the database may take. */
const END_MS = 61_000;

/** Ends the process when the requests in flight are answered. */
async function end() {
  isEnding = true;
  (server as Server).keepAliveTimeout = 1; // of a connection whose request is still to be answered
  // What is still open then waits for a body that does not come.
  setTimeout(() => (server as Server).closeAllConnections(), END_MS).unref();
  await acceptWaiting();
  // A WebSocket whose other end says no more stays open, and would keep the process.
  server.close(() => void database.close().then(() => process.exit()));
  for (const socket of silent) socket.destroy();
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end());
