import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { anyFreePort } from '../local/ports.ts';
import { deletePostgres } from '../local/postgres.ts';
import { startStack } from '../local/stack.ts';

/** The server side of bench/gateway.ts: PostgreSQL and the gateway, in a process of their own until the parent goes. */
const directory = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-bench-'));
const stack = await startStack({ directory, postgresPort: await anyFreePort(), gatewayPort: 0 });
process.send?.({ url: stack.url.app, tcpUrl: stack.tcpUrl.app });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {}); // the parent ends, and this with it
await once(process, 'disconnect');
await stack.close();
await deletePostgres(directory);
await rm(directory, { recursive: true, force: true });
