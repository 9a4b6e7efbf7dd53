import type { env } from 'cloudflare:workers';
import { parseConfig } from '../src/config.ts';
import { neonTransports } from '../src/neon-transports.ts';

/** The database over the Neon driver's HTTP and WebSocket. */
export function connect(variables: typeof env) {
  return { config: parseConfig(variables), transports: neonTransports() };
}
