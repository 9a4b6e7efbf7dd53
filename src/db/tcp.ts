import pg from 'pg';
import type { SocketTransport } from './transport.ts';
import { openConnection, type WireProtocol } from './wire.ts';

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
      // `pg` declares neither of these two, and would take more than the URL says from the PG… variables of the environment.
      const client = new pg.Client({ user, password, host, port, database, ssl }) as pg.Client & {
        connection: WireProtocol;
        getStartupConf: () => Record<string, string>;
      };
      client.getStartupConf = () => ({ user, database });
      return openConnection(client, client.connection, 'tcp', connectMs);
    },
  };
}
