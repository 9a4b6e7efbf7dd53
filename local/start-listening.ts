import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';

/**
 * @param port 0 picks a free one
 * @returns the port
 * @throws {Error} with code EADDRINUSE when the port is taken
 */
export async function startListening(server: Server, port = 0, host = '127.0.0.1'): Promise<number> {
  await once(server.listen(port, host), 'listening');
  return (server.address() as AddressInfo).port;
}
