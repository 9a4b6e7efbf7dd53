import { EventEmitter } from 'node:events';
import { attachDatabasePool } from '@vercel/functions/db-connections';
import type { Hono } from 'hono';
import { parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
import { IDLE_MS } from '../src/db/transport.ts';
import { CARRIED, serverTransports } from '../src/server-transports.ts';

/**
 * What `attachDatabasePool` looks for in a pool. After each `release`, it uses the request's `waitUntil` to keep the instance
 * awake until an idle connection is closed: in a suspended instance, no timer would close it.
 */
const sockets = Object.assign(new EventEmitter(), { options: { idleTimeoutMillis: IDLE_MS } });
attachDatabasePool(sockets);

const config = parseConfig(process.env, CARRIED);
const { app } = createApp(config, {
  transports: await serverTransports(config.transport),
  sockets: 'instance', // shared by the requests that an instance serves at once
  onQuery: ({ transport }) => {
    if (transport !== 'http') sockets.emit('release');
  },
});

export default app satisfies Pick<Hono, 'fetch'>;
