import pg from 'pg';
import type { SocketTransport } from './transport.ts';
import { openConnection } from './wire.ts';

/**
 * Plain TCP through `pg`: for Hyperdrive, for private networks, and by choice. TLS with a verified certificate everywhere but
 * on a loopback address.
 */
export function tcp(): SocketTransport {
  return {
    name: 'tcp',
    open(target, connectMs) {
      const { user, password, host, port, database, provider } = target;
      const ssl = provider !== 'local' && { rejectUnauthorized: true };
      const createClient = () => new pg.Client({ user, password, host, port, database, ssl });
      return openConnection('tcp', createClient, target, connectMs);
    },
  };
}
