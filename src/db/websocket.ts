import { Client as DriverClient, type NeonConfig } from '@neondatabase/serverless';
import { endpointsOf } from './connection-string.ts';
import { GatheringWebSocket } from './internal/gathering-web-socket.ts';
import { openConnection } from './internal/wire.ts';
import type { SocketTransport } from './transport.ts';

/**
 * The Neon driver's WebSocket mode: one PostgreSQL connection per socket.
 * @param Client the driver's, or one that extends it: `fast/` has one that authenticates with less work
 */
export function neonWebSocket({ Client = DriverClient } = {}): SocketTransport {
  return {
    open(target, connectMs) {
      const { user, password, host, port, database, provider, branch } = target;
      const createClient = () => {
        const client = new Client({ user, password, host, port, database, ssl: false });
        // Options of this client only: the driver's global ones stay as they are for everyone else.
        Object.assign(client.neonConfig, {
          wsProxy: () => endpointsOf(target).webSocket,
          useSecureWebSocket: provider !== 'local',
          webSocketConstructor: GatheringWebSocket,
          coalesceWrites: false,
          // The password can be sent ahead only if the server asks for it in cleartext (in TLS); PlanetScale asks for SCRAM.
          pipelineConnect: branch ? false : 'password',
        } satisfies Partial<NeonConfig>);
        return client;
      };
      return openConnection('websocket', createClient, target, connectMs);
    },
  };
}
