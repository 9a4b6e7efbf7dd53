import path from 'node:path';
import { styleText } from 'node:util';
import { type Gateway, type GatewayOptions, startGateway } from '../local/gateway.ts';
import type { Provider } from '../local/gateway-routes.ts';
import type { HttpLimits } from '../local/gateway-sql.ts';
import { connectUpstream, parseUpstream } from '../local/gateway-upstream.ts';
import { choosePort } from '../local/ports.ts';
import { startStack } from '../local/stack.ts';
import { GATEWAY_OPTIONS, readGatewayOptions, readPort, SIMULATION_HELP } from './gateway-options.ts';
import { type Lifetime, POSTGRES_ENDED, untilTheEnd } from './lifetime.ts';
import { type ConnectionStrings, printGateway } from './print-gateway.ts';
import { readArguments } from './read-arguments.ts';

const DEFAULTS = { port: 4444, 'postgres-port': 15432, data: '.local/gateway' } as const;

const HELP = `Starts a gateway that answers as Neon's or PlanetScale's does, for the Neon serverless driver and for pg.

Usage: npm run gateway -- [options]

  --port N            the direct route                   (default ${DEFAULTS.port}, or the next free one)
  --pooler-port N     the pooled route                   (default the next free one)
  --provider NAME     neon or planetscale                (default neon)
  --upstream URL      a postgresql:// URL of the server behind it; roles and passwords are the clients' own
                      (default an embedded PostgreSQL)
  --postgres-port N   where the embedded one listens     (default ${DEFAULTS['postgres-port']}, or the next free one)
  --data DIR          where its database is kept         (default ${DEFAULTS.data})
  --replica           a hot standby beside it
  --replica-port N    standing in for Neon: its route    (default the next free one)
  --lag MS            how far it lags: 200, or 2s        (default 0)
  --control-port N    GET /stats, GET and POST /simulate (default the next free one)
  --host ADDRESS      to listen on                       (default 127.0.0.1: only this machine)
  --max-request N, --max-response N
                      bytes of POST /sql                 (default 10485760 each)
  --help              show this

What it simulates

${SIMULATION_HELP}`;

const OPTIONS = {
  port: { type: 'string' },
  'pooler-port': { type: 'string' },
  'replica-port': { type: 'string' },
  'control-port': { type: 'string' },
  'postgres-port': { type: 'string' },
  upstream: { type: 'string' },
  host: { type: 'string' },
  'max-request': { type: 'string' },
  'max-response': { type: 'string' },
  ...GATEWAY_OPTIONS,
} as const;

untilTheEnd(main);

async function main({ started, endWith }: Lifetime): Promise<void> {
  const { values } = readArguments(HELP, { options: OPTIONS });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const { upstream, host } = values;
  const { provider, data, replica, simulation } = readGatewayOptions(values, DEFAULTS);
  for (const name of ['data', 'postgres-port', 'replica'] as const) {
    if (upstream === undefined || values[name] === undefined) continue;
    throw new Error(`--${name} applies to the embedded server: it cannot be combined with --upstream.`);
  }
  if (values['replica-port'] !== undefined && !replica) throw new Error('--replica-port needs --replica.');
  const gateway: Omit<GatewayOptions, 'upstream' | 'port'> = {
    provider,
    ...(host !== undefined && { host }),
    limits: readLimits(values),
    simulation,
  };

  const port = await choosePort('port', readPort('port', values.port), DEFAULTS.port, warn);
  let next = port + 1;
  /** A port that was asked for, or the next one. */
  const choose = async (name: 'pooler-port' | 'replica-port' | 'control-port') => {
    const chosen = await choosePort(name, readPort(name, values[name]), next, () => {});
    next = Math.max(next, chosen + 1);
    return chosen;
  };
  gateway.poolerPort = await choose('pooler-port');
  if (replica && provider === 'neon') gateway.replicaPort = await choose('replica-port');
  gateway.controlPort = await choose('control-port');

  if (upstream !== undefined) {
    const alone = await startGateway({ ...gateway, upstream, port });
    started(() => alone.close());
    await warnUnlessReachable(upstream);
    printGateway(alone, provider, upstreamUrls(upstream, alone, provider));
    return;
  }
  console.log(styleText('dim', `Starting PostgreSQL${replica ? ', a replica' : ''} and the gateway …`));
  const requested = readPort('postgres-port', values['postgres-port']);
  const postgresPort = await choosePort('postgres-port', requested, DEFAULTS['postgres-port'], () => {});
  const stack = await startStack({
    directory: path.resolve(data),
    postgresPort,
    gatewayPort: port,
    gateway,
    ...(replica && {
      replica: { port: await choosePort('postgres-port', undefined, postgresPort + 1, () => {}), ...replica },
    }),
  });
  started(() => stack.close());
  endWith(stack.ended, POSTGRES_ENDED);
  printGateway(stack.gateway, provider, {
    direct: stack.url.owner,
    pooled: stack.pooledUrl.owner,
    replica: stack.replicaUrl?.owner,
  });
}

function readLimits(values: { 'max-request'?: string; 'max-response'?: string }): Partial<HttpLimits> {
  const limits: Partial<HttpLimits> = {};
  for (const [name, limit] of [
    ['max-request', 'maxRequestBytes'],
    ['max-response', 'maxResponseBytes'],
  ] as const) {
    const value = values[name];
    if (value === undefined) continue;
    if (!/^[1-9]\d*$/.test(value)) throw new Error(`--${name} must be a number of bytes, not "${value}".`);
    limits[limit] = Number(value);
  }
  return limits;
}

/** A server may come up later than the gateway: without one, each request fails as Neon's would. */
async function warnUnlessReachable(upstream: string): Promise<void> {
  try {
    (await connectUpstream(parseUpstream(upstream))).destroy();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    warn(`The upstream cannot be reached yet: ${code ?? message}`);
  }
}

/** The upstream's database through the gateway; the password is for the reader to fill in. */
function upstreamUrls(upstream: string, gateway: Gateway, provider: Provider): ConnectionStrings {
  const { username, pathname } = new URL(upstream);
  const user = (username || '<user>') + (provider === 'planetscale' ? '.main' : '');
  const database = pathname.length > 1 ? pathname : '/<database>';
  const url = (port: number) => `postgresql://${user}:<password>@${gateway.hostname}:${port}${database}`;
  return { direct: url(gateway.port), pooled: url(gateway.poolerPort), replica: undefined };
}

function warn(message: string): void {
  console.log(styleText('yellow', message));
}
