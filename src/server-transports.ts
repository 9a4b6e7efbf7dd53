import type { TransportKind } from './config.ts';
import type { Transports } from './db/transport.ts';
import { freshHttp } from './fresh-http.ts';

/** The transports of a deployment that can use either: `DATABASE_TRANSPORT` says which. */
export const CARRIED = ['neon', 'tcp'] as const;

/** Loads only what is used: a driver takes up a good part of a cold start. */
export async function serverTransports(kind: TransportKind): Promise<Transports> {
  if (kind === 'tcp') return { tcp: (await import('./db/tcp.ts')).tcp() };
  const { http, websocket } = (await import('./neon-transports.ts')).neonTransports();
  return { http: freshHttp(http), websocket };
}
