import '../src/fast-imports.ts';
import path from 'node:path';
import { styleText } from 'node:util';
import { printLog, printStatement } from './print-log.ts';
import type { Stack } from '../local/stack.ts';
import { ownVariables } from './environment.ts';
import { forkHost, type Runtime, RUNTIMES } from './fork-host.ts';
import { GATEWAY_OPTIONS, readGatewayOptions, readPort, SIMULATION_HELP } from './gateway-options.ts';
import { type Lifetime, POSTGRES_ENDED, untilTheEnd } from './lifetime.ts';
import { readArguments } from './read-arguments.ts';

const DEFAULTS = {
  runtime: Object.keys(RUNTIMES)[0] ?? '',
  port: 8787,
  'gateway-port': 4444,
  'postgres-port': 15432,
  data: '.local',
} as const;

const HELP = `Starts the API on an embedded PostgreSQL behind a local Neon-compatible gateway.

Usage: npm run dev -- [options]

  --runtime NAME      what runs the API: ${Object.keys(RUNTIMES).join(', ')} (default ${DEFAULTS.runtime})
  --port N            where the API listens         (default ${DEFAULTS.port}, or the next free one)
  --gateway-port N    where the gateway listens     (default ${DEFAULTS['gateway-port']}, or the next free one)
  --postgres-port N   where PostgreSQL listens      (default ${DEFAULTS['postgres-port']}, or the next free one)
  --data DIR          where the database is kept    (default ${DEFAULTS.data})
  --provider NAME     what the gateway stands in for: neon or planetscale (default neon)
  --replica           a hot standby of PostgreSQL, for db.replica
  --lag MS            how far it lags: 200, or 2s   (default 0)
  --reset             delete the database first
  --sql               print the API's statements, with parameters and errors
  --inspector-port N  where a debugger can attach to the API (default none)
  --control-port N    GET /stats, GET and POST /simulate of the gateway (default the next free one)
  --remote            use DATABASE_URL of the environment or .env instead; never migrates, seeds or resets it
  --help              show this

What the gateway simulates (at run time: see --control-port)

${SIMULATION_HELP}`;

const OPTIONS = {
  runtime: { type: 'string' },
  port: { type: 'string' },
  'gateway-port': { type: 'string' },
  'postgres-port': { type: 'string' },
  'control-port': { type: 'string' },
  'inspector-port': { type: 'string' },
  ...GATEWAY_OPTIONS,
  reset: { type: 'boolean' },
  sql: { type: 'boolean' },
  remote: { type: 'boolean' },
} as const;

untilTheEnd(main);

async function main({ started, endWith }: Lifetime): Promise<void> {
  const options = readOptions();
  if (options.help) {
    console.log(HELP);
    return;
  }
  const directory = path.resolve(options.data);
  const host = forkHost(options.runtime, printLog);
  started(() => host.close());

  // Loaded while the host loads its own tools.
  const { assertStartable, choosePort, examples, remoteVariables, startLocal } = await import('./start-local.ts');
  if (!options.remote) await assertStartable(directory);
  const port = await choosePort('port', options.port, DEFAULTS.port, warn);
  const { inspectorPort } = options;
  if (inspectorPort !== undefined) await choosePort('inspector-port', inspectorPort, inspectorPort, warn);
  const local = options.remote
    ? undefined
    : await startLocal({
        ...options,
        directory,
        defaults: DEFAULTS,
        onStatement: options.sql ? printStatement : undefined,
        step,
        warn,
      });
  if (local) {
    started(() => local.close());
    endWith(local.ended, POSTGRES_ENDED);
  }
  const variables = { ...ownVariables(), ...(local?.variables ?? (await remoteVariables(directory))) };

  step(`Starting the API in ${RUNTIMES[options.runtime][2]}`);
  await host.serve({ port, inspectorPort, variables, tcpUrl: local?.tcpUrl.app ?? variables['DATABASE_URL'] ?? '' });
  endWith(host.ended, 'The API has ended unexpectedly.');

  const api = `http://127.0.0.1:${port}`;
  printTable(api, variables, examples(api), local, directory);
  console.log(`ready ${api}`);
}

/** @throws {Error} that says which option is wrong */
function readOptions() {
  const { values } = readArguments(HELP, { options: OPTIONS });
  const port = (name: 'port' | `${'gateway' | 'postgres' | 'control' | 'inspector'}-port`) =>
    readPort(name, values[name]);
  const { runtime = DEFAULTS.runtime, reset = false, sql = false, remote = false, help = false } = values;
  if (!isRuntime(runtime)) {
    throw new Error(`--runtime must be one of ${Object.keys(RUNTIMES).join(', ')}, not "${runtime}".`);
  }
  if (reset && remote) throw new Error('--reset deletes the local database: it cannot be combined with --remote.');
  const gateway = readGatewayOptions(values, DEFAULTS);
  const local = ['gateway-port', 'postgres-port', 'control-port', 'provider', 'replica', 'sql'] as const;
  if (remote && (local.some((name) => values[name] !== undefined) || Object.keys(gateway.simulation).length > 0)) {
    throw new Error(
      '--remote uses no gateway and no local PostgreSQL: it cannot be combined with their ports, --provider, --replica, --sql, or what a gateway simulates.',
    );
  }
  return {
    runtime,
    port: port('port'),
    gatewayPort: port('gateway-port'),
    postgresPort: port('postgres-port'),
    controlPort: port('control-port'),
    inspectorPort: port('inspector-port'),
    ...gateway,
    reset,
    sql,
    remote,
    help,
  };
}

function isRuntime(name: string): name is Runtime {
  return Object.hasOwn(RUNTIMES, name);
}

function printTable(
  api: string,
  { API_TOKEN: token = '', DATABASE_URL = '' }: Record<string, string>,
  examples: [kind: string, curl: string][],
  local: Stack | undefined,
  directory: string,
): void {
  const curl = `curl -H 'Authorization: Bearer ${token}'`;
  const database = URL.parse(DATABASE_URL);
  const routes = (port: number) => `http://127.0.0.1:${port}/sql  ws://127.0.0.1:${port}/v2`;
  const rows = [
    ['API', api],
    ['Token', token],
    ...(local
      ? [
          ['Gateway', routes(local.gateway.port)],
          ['Pooled', routes(local.gateway.poolerPort)],
          ...(local.gateway.replicaPort ? [['Replica', routes(local.gateway.replicaPort)]] : []),
          ['Control', `http://127.0.0.1:${local.gateway.controlPort}/simulate  /stats`],
          ['PostgreSQL', local.tcpUrl.owner],
          [
            'Data',
            local.postgres.dataDirectory.startsWith(directory)
              ? directory
              : `${directory} (server files in ${local.postgres.dataDirectory})`,
          ],
        ]
      : [['Database', `${database?.host}${database?.pathname} (DATABASE_URL)`]]),
    [],
    ...examples.map(([kind, options]) => [kind, `${curl} ${options}`]),
  ];
  console.log();
  for (const [name = '', value = ''] of rows) console.log(`  ${styleText('bold', name.padEnd(13))}${value}`.trimEnd());
  console.log();
}

function step(message: string): void {
  console.log(styleText('dim', `${message} …`));
}

function warn(message: string): void {
  console.log(styleText('yellow', message));
}
