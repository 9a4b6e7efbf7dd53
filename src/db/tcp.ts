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
    open({ user, password, host, port, database, provider }, connectMs) {
      const ssl = provider !== 'local' && { rejectUnauthorized: true };
      const createClient = () => {
        // `pg` does not declare this, and would take more than the URL says from the PG… variables of the environment.
        const getStartupConf = () => ({ user, database });
        return Object.assign(new pg.Client({ user, password, host, port, database, ssl }), { getStartupConf });
      };
      return openConnection(createClient, 'tcp', { host, port, connectMs });
    },
  };
}
