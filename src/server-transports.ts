import type { TransportKind } from './config.ts';
import { fastClient } from './db/fast/client.ts';
import { neonHttp } from './db/http.ts';
import { tcp } from './db/tcp.ts';
import type { Transports } from './db/transport.ts';
import { neonWebSocket } from './db/websocket.ts';

/** What the bundles of Vercel, Lambda and Node carry: `DATABASE_TRANSPORT` says which is used. A Worker's carries no `pg`. */
export const CARRIED = ['neon', 'tcp'] as const;

export function serverTransports(kind: TransportKind): Transports {
  return kind === 'tcp' ? { tcp: tcp() } : { http: neonHttp(), websocket: neonWebSocket({ Client: fastClient() }) };
}
