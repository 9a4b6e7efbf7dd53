import { fastClient } from './db/fast/client.ts';
import { neonHttp } from './db/http.ts';
import type { Transports } from './db/transport.ts';
import { neonWebSocket } from './db/websocket.ts';

/** The Neon driver's transports: HTTP, and WebSocket with cheap authentication. */
export function neonTransports() {
  return { http: neonHttp(), websocket: neonWebSocket({ Client: fastClient() }) } satisfies Transports;
}
