import type { parseArgs } from 'node:util';
import { createSimulator, type Simulation } from '../local/gateway-simulation.ts';

/** For `parseArgs`. */
const SIMULATION_OPTIONS = {
  rtt: { type: 'string' },
  jitter: { type: 'string' },
  'cold-start': { type: 'string' },
  idle: { type: 'string' },
  drop: { type: 'string' },
  'drop-at': { type: 'string' },
  'control-plane-errors': { type: 'string' },
  refuse: { type: 'boolean' },
  stall: { type: 'boolean' },
  seed: { type: 'string' },
} as const;

export const SIMULATION_HELP = `  --rtt MS            round-trip time to the gateway; setting up a connection takes two more
  --jitter MS         each way takes up to this much longer
  --cold-start MS     how long the first query after --idle waits
  --idle S            seconds without a query before that (default 300)
  --drop P            probability that a connection is cut
  --drop-at WHERE     before the query runs, after it, at the commit (default before,after,commit: one at random)
  --control-plane-errors P  probability of Neon's "Control plane request failed"
  --refuse            refuse connections
  --stall             accept connections and never answer
  --seed N            the same failures in the same order (default 1)
`;

/** Options of `npm run dev` and `npm run gateway`, for the gateway and the database behind it. */
export const GATEWAY_OPTIONS = {
  provider: { type: 'string' },
  data: { type: 'string' },
  replica: { type: 'boolean' },
  lag: { type: 'string' },
  ...SIMULATION_OPTIONS,
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof GATEWAY_OPTIONS }>>['values'];

/** @throws {Error} that names the option */
export function readGatewayOptions(values: Values, defaults: { data: string }) {
  const { provider = 'neon', data = defaults.data, lag = '0' } = values;
  if (provider !== 'neon' && provider !== 'planetscale') {
    throw new Error(`--provider must be neon or planetscale, not "${provider}".`);
  }
  if (data === '') throw new Error('--data must name a directory.');
  if (values.lag !== undefined && !values.replica) throw new Error('--lag needs --replica.');
  const replica = values.replica ? { lagMs: readNumber('lag', lag, 'ms') } : undefined;
  return { provider, data, replica, simulation: readSimulation(values) } as const;
}

/** @throws {Error} that names the option */
export function readPort(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535) return Number(value);
  throw new Error(`--${name} must be a port from 1 to 65535, not "${value}".`);
}

function readSimulation(values: Values): Partial<Simulation> {
  const changes: Record<string, unknown> = {};
  for (const name of Object.keys(SIMULATION_OPTIONS) as (keyof typeof SIMULATION_OPTIONS)[]) {
    const value = values[name];
    if (value === undefined) continue;
    const setting = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    if (name === 'drop-at') changes[setting] = String(value).split(',');
    else changes[setting] = typeof value === 'boolean' ? value : readNumber(name, value, name === 'idle' ? 's' : 'ms');
  }
  try {
    createSimulator(changes);
  } catch (error) {
    const named = (error as Error).message.replace(
      /^\w+/,
      (setting) => `--${setting.replace(/[A-Z]/g, '-$&').toLowerCase()}`,
    );
    throw new Error(named, { cause: error });
  }
  return changes;
}

/**
 * A number, or a duration such as `200ms` or `2s`.
 * @param unit of a bare number, and of the result
 * @throws {Error} that names the option
 */
function readNumber(name: string, text: string, unit: 'ms' | 's'): number {
  const { amount, given = unit } = /^(?<amount>\d+(?:\.\d+)?)(?<given>ms|s)?$/.exec(text)?.groups ?? {};
  if (amount === undefined) throw new Error(`--${name} must be a number, 0 or greater, not "${text}".`);
  const inMs = Number(amount) * (given === 's' ? 1000 : 1);
  return unit === 's' ? inMs / 1000 : inMs;
}
