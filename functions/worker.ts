import { env } from 'cloudflare:workers';
import { parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
import { fastClient } from '../src/db/fast/client.ts';
import { neonHttp } from '../src/db/http.ts';
import { neonWebSocket } from '../src/db/websocket.ts';

const { app } = createApp(parseConfig(env), {
  transports: { http: neonHttp(), websocket: neonWebSocket({ Client: fastClient() }) },
  sockets: 'request', // a Worker's socket belongs to the request that opened it
  waitUntil: (c, promise) => c.executionCtx.waitUntil(promise),
});

export default app;
