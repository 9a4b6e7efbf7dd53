/** A Worker that gives up connections about when their handshakes are answered, after 100 ms, and is busy at that moment. */
import { env } from 'cloudflare:workers';
import { parseConnectionString } from '../../src/db/connection-string.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';

const target = parseConnectionString(String(env['DATABASE_URL']));
const transport = neonWebSocket();

export default {
  async fetch(): Promise<Response> {
    const attempts = Array.from({ length: 30 }, (_, n) =>
      transport.open(target, 95 + n).send([{ text: 'select 1', params: [] }]),
    );
    // Not a wait for something: from now on it is busy, until both the answers and the deadlines are there.
    await new Promise((resolve) => setTimeout(resolve, 90));
    for (let n = 0; n < 3e7; n++) Math.random();
    await Promise.allSettled(attempts);
    return new Response();
  },
};
