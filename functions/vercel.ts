// Vercel takes this file for the app because it imports from 'hono'.
import type { Hono } from 'hono';
import { parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
import { neonHttp } from '../src/db/http.ts';
import { neonWebSocket } from '../src/db/websocket.ts';

const { app } = createApp(parseConfig(process.env), {
  transports: { http: neonHttp(), websocket: neonWebSocket() },
  sockets: 'instance',
});

export default app satisfies Pick<Hono, 'fetch'>;
