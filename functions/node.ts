import { serve } from '@hono/node-server';
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
const port = Number(PORT || 8787);
if (!(Number.isInteger(port) && port >= 0 && port < 2 ** 16)) {
  throw new RangeError(`PORT must be a whole number from 0 to 65535, not "${PORT}".`);
}
const server = serve({ fetch: app.fetch, port, ...(hostname && { hostname }) }, ({ port }) => {
  console.log(`listening on port ${port}`);
});

/** Milliseconds for requests in flight. A connection that never sends one would keep the server open for ever. */
const LAST_ANSWER = 8_000; // `docker stop` kills after ten seconds

// Requests in flight are answered before the process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => void database.close());
    setTimeout(() => 'closeAllConnections' in server && server.closeAllConnections(), LAST_ANSWER).unref();
  });
}
