import { createSimulator, type Simulation } from '../local/gateway-simulation.ts';

/** For `parseArgs`. */
export const SIMULATION_OPTIONS = {
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

export const SIMULATION_HELP = `  --rtt MS            distance: a round trip to the gateway takes so long, setting up a connection two more
  --jitter MS         each way takes up to this much longer
  --cold-start MS     the first query after a while waits
  --idle S            how long a while is                (default 300)
  --drop P            probability that a connection is cut
  --drop-at WHERE     before the query runs, after it, at the commit (default before,after,commit: one at random)
  --control-plane-errors P  probability of Neon's "Control plane request failed"
  --refuse            refuse connections
  --stall             accept connections and never answer
  --seed N            the same mishaps in the same order (default 1)
`;

type Values = { [Name in keyof typeof SIMULATION_OPTIONS]?: string | boolean | undefined };

/**
 * What the options say of the simulation.
 * @throws {Error} that names the option
 */
export function readSimulation(values: Values): Partial<Simulation> {
  const changes: Record<string, unknown> = {};
  for (const name of Object.keys(SIMULATION_OPTIONS) as (keyof Values)[]) {
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
 * @param unit that a bare number has, and the answer
 * @throws {Error} that names the option
 */
export function readNumber(name: string, text: string, unit: 'ms' | 's'): number {
  const { amount, given = unit } = /^(?<amount>\d+(?:\.\d+)?)(?<given>ms|s)?$/.exec(text)?.groups ?? {};
  if (amount === undefined) throw new Error(`--${name} must be a number from 0 on, not "${text}".`);
  const inMs = Number(amount) * (given === 's' ? 1000 : 1);
  return unit === 's' ? inMs / 1000 : inMs;
}
