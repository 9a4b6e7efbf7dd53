import { once } from 'node:events';
import { startTemporaryStack } from '../local/temporary-stack.ts';
import { startBound } from './gateway-bound.ts';

export interface Addresses {
  /** Of the gateway, of PostgreSQL itself, and of what shows how fast a gateway could be. */
  url: string;
  tcpUrl: string;
  boundUrl: string;
}

/** The server side of bench/gateway.ts: PostgreSQL and the gateway, in a process of their own until the parent goes. */
const stack = await startTemporaryStack();
const { port, socketDirectory = '127.0.0.1' } = stack.postgres;
const { username, password, pathname } = new URL(stack.tcpUrl.app);
const parameters = { user: username, database: pathname.slice(1) };
const boundUrl = await startBound({ host: socketDirectory, port }, parameters, password, 20);
process.send?.({ url: stack.url.app, tcpUrl: stack.tcpUrl.app, boundUrl } satisfies Addresses);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {}); // the parent ends, and this with it
await once(process, 'disconnect');
await stack.close();
process.exit(); // what shows the bound has nothing to close
