import path from 'node:path';
import { styleText } from 'node:util';
import { printLog } from './print-log.ts';
import type { Provider } from '../local/gateway-routes.ts';
import type { Simulation } from '../local/gateway-simulation.ts';
import type { Stack } from '../local/stack.ts';
import { ownVariables } from './environment.ts';
import { forkHost, type Runtime, RUNTIMES } from './fork-host.ts';
import { type Lifetime, POSTGRES_ENDED, untilTheEnd } from './lifetime.ts';
import { readArguments } from './read-arguments.ts';
import { readNumber, readSimulation, SIMULATION_HELP, SIMULATION_OPTIONS } from './simulation-options.ts';

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
  --replica           a hot standby beside it, for db.replica
  --lag MS            how far it stays behind       (default 0)
  --reset             delete the database first
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
  ...SIMULATION_OPTIONS,
  data: { type: 'string' },
  provider: { type: 'string' },
  replica: { type: 'boolean' },
  lag: { type: 'string' },
  reset: { type: 'boolean' },
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
  const local = options.remote
    ? undefined
    : await startLocal({ ...options, directory, defaults: DEFAULTS, step, warn });
  if (local) {
    started(() => local.close());
    endWith(local.postgres.ended, POSTGRES_ENDED);
  }
  const variables = { ...ownVariables(), ...(local?.variables ?? (await remoteVariables(directory))) };

  step(`Starting the API in ${RUNTIMES[options.runtime][2]}`);
  await host.serve({ port, variables, tcpUrl: local?.tcpUrl.app ?? variables['DATABASE_URL'] ?? '' });
  endWith(host.ended, 'The API has ended unexpectedly.');

  const api = `http://127.0.0.1:${port}`;
  printTable(api, variables, examples(api), local, directory);
  console.log(`ready ${api}`);
}

interface Options {
  runtime: Runtime;
  port: number | undefined;
  gatewayPort: number | undefined;
  postgresPort: number | undefined;
  data: string;
  provider: Provider;
  controlPort: number | undefined;
  simulation: Partial<Simulation>;
  replica: { lagMs: number } | undefined;
  reset: boolean;
  remote: boolean;
  help: boolean;
}

function readOptions(): Options {
  const { values } = readArguments(HELP, { options: OPTIONS });
  const port = (name: 'port' | 'gateway-port' | 'postgres-port' | 'control-port') => {
    const value = values[name];
    if (value === undefined) return undefined;
    if (/^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535) return Number(value);
    throw new Error(`--${name} must be a port from 1 to 65535, not "${value}".`);
  };
  const { runtime = DEFAULTS.runtime, data = DEFAULTS.data, provider = 'neon' } = values;
  const { reset = false, remote = false, help = false } = values;
  if (!isRuntime(runtime)) {
    throw new Error(`--runtime must be one of ${Object.keys(RUNTIMES).join(', ')}, not "${runtime}".`);
  }
  if (data === '') throw new Error('--data must name a directory.');
  if (provider !== 'neon' && provider !== 'planetscale') {
    throw new Error(`--provider must be neon or planetscale, not "${provider}".`);
  }
  if (reset && remote) throw new Error('--reset deletes the local database: it cannot go with --remote.');
  const simulation = readSimulation(values);
  if (values.lag !== undefined && !values.replica) throw new Error('--lag needs --replica.');
  const replica = values.replica ? { lagMs: readNumber('lag', values.lag ?? '0', 'ms') } : undefined;
  const local = ['gateway-port', 'postgres-port', 'control-port', 'provider', 'replica'] as const;
  if (remote && (local.some((name) => values[name] !== undefined) || Object.keys(simulation).length > 0)) {
    throw new Error(
      '--remote uses no gateway and no local PostgreSQL: it cannot go with their ports, --provider, --replica, or what a gateway simulates.',
    );
  }
  return {
    runtime,
    port: port('port'),
    gatewayPort: port('gateway-port'),
    postgresPort: port('postgres-port'),
    controlPort: port('control-port'),
    simulation,
    replica,
    data,
    provider,
    reset,
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
