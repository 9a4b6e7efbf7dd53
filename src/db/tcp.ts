import pg from 'pg';
import { openConnection } from './internal/wire.ts';
import type { SocketTransport } from './transport.ts';

/**
 * Plain TCP through `pg`: for Hyperdrive, for private networks, and by choice.
 * @param tls with a verified certificate, everywhere but on a loopback address. False is for traffic that does not leave the
 *   machine on its way to the server, as with Hyperdrive
 */
export function tcp({ tls = true } = {}): SocketTransport {
  return {
    open(target, connectMs) {
      const { user, password, host, port, database, provider } = target;
      const ssl = tls && provider !== 'local' && { rejectUnauthorized: true };
      const createClient = () => new pg.Client({ user, password, host, port, database, ssl });
      return openConnection('tcp', createClient, target, connectMs);
    },
  };
}
