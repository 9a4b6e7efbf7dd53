import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { refuseForeign } from './gateway-origin.ts';
import { readBody } from './gateway-request.ts';
import type { Simulation } from './gateway-simulation.ts';
import { startListening } from './start-listening.ts';

const MAX_BYTES = 64 * 1024;

interface Controlled {
  stats: () => object;
  simulation: () => Simulation;
  simulate: (changes: Record<string, unknown>) => Promise<Simulation>;
}

/**
 * `GET /stats`, `GET /simulate`, `POST /simulate`: on loopback and on a port of its own, so that it answers while the gateway
 * refuses or stalls.
 */
export async function startControl(port: number, { stats, simulation, simulate }: Controlled) {
  const answer = async (request: IncomingMessage): Promise<[status: number, body: object]> => {
    const refusal = refuseForeign(request, false);
    if (refusal) return [403, { error: refusal.trim() }];
    switch (`${request.method} ${request.url}`) {
      case 'GET /stats':
        return [200, stats()];
      case 'GET /simulate':
        return [200, simulation()];
      case 'POST /simulate':
        return [200, await simulate(parse(await readBody(request, MAX_BYTES)))];
      default:
        return [404, { error: 'Use GET /stats, GET /simulate or POST /simulate.' }];
    }
  };
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    const [status, body] = await answer(request).catch((error: Error): [number, object] => [
      400,
      { error: error.message },
    ]);
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
  };
  const server = createServer((request, response) => void respond(request, response));
  return {
    port: await startListening(server, port),
    async close(): Promise<void> {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // the same answer as for JSON that is not an object
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new TypeError('The body must be a JSON object, such as {"rtt": 40}.');
}
