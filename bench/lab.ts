import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Distance, startDistance } from '../local/distance.ts';
import { startGateway } from '../local/gateway.ts';
import { startTemporaryStack } from '../local/temporary-stack.ts';
import { applyMigrations } from '../scripts/apply-migrations.ts';
import { createDatabase } from '../src/db/database.ts';
import { tcp } from '../src/db/tcp.ts';
import { seedDemoData } from '../src/ledger/demo-data.ts';
import * as schema from '../src/ledger/schema.ts';
import type { ClientReply, ClientRequest, Measured } from './client-process.ts';
import { type Auth, CLIENTS, type ClientName } from './clients.ts';

/** What every client is measured against: a PostgreSQL, a gateway for each provider, and a process for each client. */
export interface Lab {
  /**
   * Ways to the database that nobody has used, each on a port of its own: no connection is kept alive to any of them.
   * @param rtt milliseconds
   */
  openWays(client: ClientName, auth: Auth, rtt: number, count: number): Promise<Way[]>;
  /** To the database without anything on the way. */
  directUrl(client: ClientName, auth: Auth): string;
  /** @param host the client whose process is asked: it can open others, too */
  ask(host: ClientName, request: ClientRequest): Promise<Measured>;
  /** Stops all of it, and deletes the database. */
  close(): Promise<void>;
}

export interface Way extends Distance {
  url: string;
}

const HOST = '127.0.0.1';

/** On the way to the gateway: TCP and TLS 1.3. To PostgreSQL itself: TCP, asking for TLS, TLS 1.3. */
const SETUP_TRIPS = { gateway: 2, tcp: 3 };

export async function openLab(): Promise<Lab> {
  await using cleanup = new AsyncDisposableStack();
  // Without waiting for the disk: what is measured is the way to the database.
  const stack = await startTemporaryStack({ settings: { fsync: 'off', max_connections: '200' } });
  cleanup.defer(() => stack.close());
  await applyMigrations(stack.url.owner, stack.url.app);
  await seed(stack.tcpUrl.app);
  const { port: postgresPort } = stack.postgres;
  const upstream = { host: HOST, port: postgresPort };
  const planetscale = await startGateway({ upstream, port: 0, provider: 'planetscale' });
  cleanup.defer(() => planetscale.close());
  const gatewayPorts = { neon: stack.gateway.port, planetscale: planetscale.port };
  const portFor = (client: ClientName, auth: Auth) =>
    CLIENTS[client].route === 'tcp' ? postgresPort : gatewayPorts[auth];
  const urlFor = (client: ClientName, auth: Auth, port: number) => {
    const url = new URL(stack.url.app);
    url.port = String(port);
    if (CLIENTS[client].route === 'gateway' && auth === 'planetscale') url.username += '.main';
    return url.href;
  };

  const program = await bundleClientProcess(stack.directory);
  const children = new Map<ClientName, ChildProcess>();
  cleanup.defer(() => {
    for (const child of children.values()) child.disconnect();
  });
  const childFor = (client: ClientName) => {
    const child = children.get(client) ?? forkClient(program);
    children.set(client, child);
    return child;
  };

  const running = cleanup.move();
  return {
    async openWays(client, auth, rtt, count) {
      const options = { port: 0, target: { host: HOST, port: portFor(client, auth) }, rtt };
      const setupTrips = SETUP_TRIPS[CLIENTS[client].route];
      return Promise.all(
        Array.from({ length: count }, async () => {
          const distance = await startDistance({ ...options, setupTrips });
          return { ...distance, url: urlFor(client, auth, distance.port) };
        }),
      );
    },
    directUrl: (client, auth) => urlFor(client, auth, portFor(client, auth)),
    ask: (host, request) => ask(childFor(host), request),
    close: () => running.disposeAsync(),
  };
}

/** Bundled, as an application is deployed; from its many files it would take seconds to load. */
async function bundleClientProcess(directory: string): Promise<string> {
  const outfile = path.join(directory, 'client-process.cjs');
  const entry = fileURLToPath(new URL('client-process.ts', import.meta.url));
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['pg-native'],
  });
  return outfile;
}

/** A process of its own for each client: neither the CPU nor the settings of one are those of another. */
function forkClient(program: string): ChildProcess {
  return fork(program, {
    // A process group of its own: Ctrl-C in a terminal reaches the bench alone, which ends it in order.
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}

function ask(child: ChildProcess, request: ClientRequest): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error('the process of a client ended'));
    child.once('exit', ended).once('message', (reply: ClientReply) => {
      child.off('exit', ended);
      if ('error' in reply) reject(new Error(reply.error));
      else resolve(reply);
    });
    child.send(request);
  });
}

async function seed(url: string): Promise<void> {
  const database = createDatabase({ url, schema, transports: { tcp: tcp() }, sockets: 'instance' });
  try {
    await seedDemoData(database);
  } finally {
    await database.close();
  }
}
