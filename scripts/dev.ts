import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, styleText } from 'node:util';
import { printLog } from './print-log.ts';
import type { Stack } from '../local/stack.ts';
import { forkWorkerHost } from './fork-worker-host.ts';

const DEFAULTS = { port: 8787, 'gateway-port': 4444, 'postgres-port': 15432, data: '.local' } as const;

const HELP = `Starts the API in workerd, on an embedded PostgreSQL behind a local Neon-compatible gateway.

Usage: npm run dev -- [options]

  --port N            where the API listens         (default ${DEFAULTS.port}, or the next free one)
  --gateway-port N    where the gateway listens     (default ${DEFAULTS['gateway-port']}, or the next free one)
  --postgres-port N   where PostgreSQL listens      (default ${DEFAULTS['postgres-port']}, or the next free one)
  --data DIR          where the database is kept    (default ${DEFAULTS.data})
  --reset             delete the database first
  --remote            use DATABASE_URL of the environment or .env instead; never migrates, seeds or resets it
  --help              show this
`;

/** How to stop what has been started; the last started is the first stopped. */
const cleanups: (() => Promise<unknown>)[] = [];
let stopping = false;
let stoppingSince = 0;

/** Milliseconds after which a second signal is a second wish. */
const AGAIN = 500;

watchForTheEnd();
const starting = main().catch((error: unknown) => {
  if (stopping) return;
  console.error(styleText('red', error instanceof Error ? error.message : String(error)));
  void stop(1);
});

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) {
    console.log(HELP);
    return;
  }
  const directory = path.resolve(options.data);
  const worker = forkWorkerHost(printLog);
  started(() => worker.close());

  // Loaded while the worker's host loads its own tools.
  const { assertStartable, choosePort, DEMO_ACCOUNTS, remoteVariables, startLocal } = await import('./start-local.ts');
  if (!options.remote) await assertStartable(directory);
  const port = await choosePort('port', options.port, DEFAULTS.port, warn);
  const local = options.remote
    ? undefined
    : await startLocal({ ...options, directory, defaults: DEFAULTS, step, warn });
  if (local) started(() => local.close());
  const variables = local?.variables ?? (await remoteVariables(directory));

  step('Starting the API in workerd');
  await worker.serve({ port, variables });
  void worker.ended.then(() => {
    if (stopping) return undefined;
    console.error(styleText('red', 'workerd has ended unexpectedly.'));
    return stop(1);
  });

  const api = `http://127.0.0.1:${port}`;
  printTable(api, variables['API_TOKEN'] ?? '', DEMO_ACCOUNTS, local, directory);
  console.log(`ready ${api}`);
}

interface Options {
  port: number | undefined;
  gatewayPort: number | undefined;
  postgresPort: number | undefined;
  data: string;
  reset: boolean;
  remote: boolean;
  help: boolean;
}

function readOptions(): Options {
  const { values } = parse();
  const port = (name: 'port' | 'gateway-port' | 'postgres-port') => {
    const value = values[name];
    if (value === undefined) return undefined;
    if (/^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535) return Number(value);
    throw new Error(`--${name} must be a port from 1 to 65535, not "${value}".`);
  };
  const { data = DEFAULTS.data, reset = false, remote = false, help = false } = values;
  if (data === '') throw new Error('--data must name a directory.');
  if (reset && remote) throw new Error('--reset deletes the local database: it cannot go with --remote.');
  return {
    port: port('port'),
    gatewayPort: port('gateway-port'),
    postgresPort: port('postgres-port'),
    data,
    reset,
    remote,
    help,
  };
}

function parse() {
  try {
    return parseArgs({
      options: {
        port: { type: 'string' },
        'gateway-port': { type: 'string' },
        'postgres-port': { type: 'string' },
        data: { type: 'string' },
        reset: { type: 'boolean' },
        remote: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}\nSee npm run dev -- --help`, { cause: error });
  }
}

function printTable(
  api: string,
  token: string,
  { bank, alice }: { bank: string; alice: string },
  local: Stack | undefined,
  directory: string,
): void {
  const curl = `curl -H 'Authorization: Bearer ${token}'`;
  const transfer = JSON.stringify({ fromAccountId: bank, toAccountId: alice, amount: 100, currency: 'EUR' });
  const rows = [
    ['API', api],
    ['Token', token],
    ...(local
      ? [
          ['Gateway', `http://127.0.0.1:${local.gateway.port}/sql  ws://127.0.0.1:${local.gateway.port}/v2`],
          ['PostgreSQL', local.tcpUrl.owner],
          [
            'Data',
            local.postgres.dataDirectory.startsWith(directory)
              ? directory
              : `${directory} (server files in ${local.postgres.dataDirectory})`,
          ],
        ]
      : [['Database', 'DATABASE_URL of the environment']]),
    [],
    ['One-shot', `${curl} ${api}/accounts`],
    ['Batch', `${curl} ${api}/accounts/${alice}/statement`],
    [
      'Transaction',
      `${curl} -H "Idempotency-Key: $(date +%s)" -H 'Content-Type: application/json' -d '${transfer}' ${api}/transfers`,
    ],
    ['Session', `${curl} -X POST ${api}/reconciliations`],
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

/** Remembers how to stop what was just started; goes no further if the end has come meanwhile. */
function started(cleanup: () => Promise<unknown>): void {
  cleanups.push(cleanup);
  if (stopping) throw new Error('stopped');
}

/** Ctrl-C, a signal, or the end of npm or the terminal in front of this process. */
function watchForTheEnd(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Ctrl-C arrives twice at once, from the terminal and through npm. Asked again later, what is left ends with this process.
      if (stopping && performance.now() - stoppingSince > AGAIN) process.exit(1);
      if (!stopping) void stop(0);
    });
  }
  // A signal to npm ends the shell between npm and this process, and leaves this process an orphan.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent && !stopping) void stop(0);
  }, 200).unref();
}

/** Milliseconds that a step of the start may take to notice that it is not wanted any more. */
const START_GRACE = 1_500;

async function stop(exitCode: number): Promise<never> {
  stopping = true;
  stoppingSince = performance.now();
  const stopStarted = async () => {
    for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) await cleanup().catch(console.error);
  };
  await stopStarted();
  await Promise.race([starting, sleep(START_GRACE)]);
  await stopStarted();
  process.exit(exitCode);
}
