import { existsSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { followStatements, LOG_STATEMENTS, type LoggedStatement } from '../local/follow-statements.ts';
import type { Provider } from '../local/gateway-routes.ts';
import type { Simulation } from '../local/gateway-simulation.ts';
import { choosePort } from '../local/ports.ts';
import { assertNotRunning, deletePostgres } from '../local/postgres.ts';
import { readCredentials, type Stack, startStack } from '../local/stack.ts';
import { parseConfig } from '../src/config.ts';
import { createDatabase } from '../src/db/database.ts';
import { neonHttp } from '../src/db/http.ts';
import { neonWebSocket } from '../src/db/websocket.ts';
import { applyMigrations } from './apply-migrations.ts';
import { examples, seedDemoData } from './demo.ts';
import { loadEnvironment, type Running, RUNNING_FILE } from './environment.ts';

export { choosePort, examples };

export interface LocalOptions {
  directory: string;
  gatewayPort: number | undefined;
  postgresPort: number | undefined;
  controlPort: number | undefined;
  provider: Provider;
  simulation: Partial<Simulation>;
  /** A hot standby beside the server, and how many milliseconds it stays behind. */
  replica: { lagMs: number } | undefined;
  defaults: { 'gateway-port': number; 'postgres-port': number };
  /** Deletes the database first. */
  reset: boolean;
  /** Called with each statement of the application's, if at all. */
  onStatement: ((statement: LoggedStatement) => void) | undefined;
  /** Called with what is about to happen, or has happened. */
  step: (message: string) => void;
  warn: (message: string) => void;
}

export interface Local extends Stack {
  /** What the app's environment contains. */
  variables: Record<string, string>;
}

/** @throws {Error} when nothing can be started on this directory */
export async function assertStartable(directory: string): Promise<void> {
  if (existsSync(directory) && !statSync(directory).isDirectory())
    throw new Error(`--data: ${directory} is not a directory.`);
  await assertNotRunning(directory);
}

/** Starts the local stack with the migrations applied and the demo data in it. */
export async function startLocal(options: LocalOptions): Promise<Local> {
  const { directory, controlPort, provider, simulation, replica, defaults, reset, onStatement, step, warn } = options;
  if (reset) {
    step(`Deleting the database in ${directory}`);
    await deletePostgres(directory);
  }
  step(`Starting PostgreSQL${replica ? ', a replica' : ''} and the gateway`);
  const gatewayPort = await choosePort('gateway-port', options.gatewayPort, defaults['gateway-port'], warn);
  const choose = (name: string, first: number) => choosePort(name, undefined, first, () => {});
  const poolerPort = await choose('pooler-port', gatewayPort + 1);
  const replicaPort = replica && provider === 'neon' ? await choose('replica-port', poolerPort + 1) : undefined;
  const postgresPort = await choosePort('postgres-port', options.postgresPort, defaults['postgres-port'], warn);
  const stack = await startStack({
    directory,
    postgresPort,
    gatewayPort,
    ...(onStatement && { settings: LOG_STATEMENTS }),
    gateway: {
      provider,
      poolerPort,
      ...(replicaPort !== undefined && { replicaPort }),
      controlPort: await choosePort('control-port', controlPort, (replicaPort ?? poolerPort) + 1, () => {}),
    },
    ...(replica && { replica: { port: await choose('postgres-port', postgresPort + 1), lagMs: 0 } }),
  });
  try {
    await applyMigrations(stack.url.owner, stack.url.app, {
      onApply: (count) => step(`Applying ${count} migration${count === 1 ? '' : 's'}`),
      onWarning: warn,
    });
    const database = createDatabase({
      url: stack.url.app,
      schema: {},
      transports: { http: neonHttp(), websocket: neonWebSocket() },
      sockets: 'instance',
    });
    if (await seedDemoData(database)) step('Loaded the demo data');
    await database.close();
    // Not before: the start is not simulated, and a replica that lags from the beginning would have no tables yet.
    await stack.replica?.catchUp();
    if (replica) await stack.replica?.setLag(replica.lagMs);
    await stack.gateway.simulate(simulation);
    const { username } = new URL(stack.tcpUrl.app);
    const unfollow = await Promise.all(
      [stack.postgres, stack.replica].flatMap((server) =>
        server && onStatement ? followStatements(server.logFile, username, onStatement) : [],
      ),
    );

    const running = path.join(directory, RUNNING_FILE);
    const state: Running = { pid: process.pid, url: stack.url, tcpUrl: stack.tcpUrl };
    await writeFile(running, JSON.stringify(state, null, 2), { mode: 0o600 });
    return {
      ...stack,
      // As in a deployment: through the pooler, with a direct address for sessions.
      variables: {
        DATABASE_URL: stack.pooledUrl.app,
        DATABASE_URL_UNPOOLED: stack.url.app,
        ...(stack.replicaUrl && { DATABASE_REPLICA_URL: stack.replicaUrl.app }),
        API_TOKEN: stack.credentials.apiToken,
      },
      async close() {
        await rm(running, { force: true });
        await stack.close();
        for (const end of unfollow) await end();
      },
    };
  } catch (error) {
    await stack.close();
    throw error;
  }
}

/** What the app's environment contains if it uses this environment's database; a token is generated if there is none. */
export async function remoteVariables(directory: string): Promise<Record<string, string>> {
  const { apiToken: made } = await readCredentials(directory);
  // The runtime's entry will say itself which transports it carries.
  const environment = loadEnvironment();
  const variables = { ...environment, API_TOKEN: environment['API_TOKEN'] || made };
  const { database, transport, apiToken } = parseConfig(variables, ['neon', 'tcp']);
  const { url, unpooledUrl, replicaUrl } = database;
  return {
    DATABASE_URL: url,
    ...(unpooledUrl !== undefined && { DATABASE_URL_UNPOOLED: unpooledUrl }),
    ...(replicaUrl !== undefined && { DATABASE_REPLICA_URL: replicaUrl }),
    DATABASE_TRANSPORT: transport,
    API_TOKEN: apiToken,
  };
}
