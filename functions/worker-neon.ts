import type { env } from 'cloudflare:workers';
import { parseConfig } from '../src/config.ts';
import { fastClient } from '../src/db/fast/client.ts';
import { neonHttp } from '../src/db/http.ts';
import { neonWebSocket } from '../src/db/websocket.ts';

/** The database over the Neon driver's HTTP and WebSocket. */
export function connect(variables: typeof env) {
  return {
    config: parseConfig(variables),
    transports: { http: neonHttp(), websocket: neonWebSocket({ Client: fastClient() }) },
  };
}
