import { setTimeout as sleep } from 'node:timers/promises';

/** Where a connection is cut: before the query reaches the server; after it ran, before its answer; the same for a COMMIT. */
export const DROP_POINTS = ['before', 'after', 'commit'] as const;
export type DropPoint = (typeof DROP_POINTS)[number];

/** What goes wrong, or takes its time. */
export interface Simulation {
  /** Milliseconds to the gateway and back, for bytes on a connection and for its set-up, including TLS's share. */
  rtt: number;
  /** The most milliseconds that are randomly added to one way. */
  jitter: number;
  /** Milliseconds that the first query waits after `idle` seconds without any: scale to zero. */
  coldStart: number;
  idle: number;
  /** Probability, for each request and each flight of messages, that its connection is cut. */
  drop: number;
  /** Where it is cut: at one of these, at random. `commit` cuts only what commits a transaction. */
  dropAt: readonly DropPoint[];
  /** Probability, for each request and each log-in, of Neon's "Control plane request failed". */
  controlPlaneErrors: number;
  /** Connections are refused. */
  refuse: boolean;
  /** Connections are accepted, and nothing is ever answered. */
  stall: boolean;
  /** The same seed and the same order of events cause the same failures. */
  seed: number;
}

/** Everything works, without delay. Neon suspends a compute after five minutes. */
export const NO_SIMULATION: Simulation = {
  rtt: 0,
  jitter: 0,
  coldStart: 0,
  idle: 300,
  drop: 0,
  dropAt: DROP_POINTS,
  controlPlaneErrors: 0,
  refuse: false,
  stall: false,
  seed: 1,
};

export interface Simulator {
  current: () => Simulation;
  /** @throws {TypeError} that names an invalid setting; nothing is changed then */
  change(changes: Record<string, unknown>): Simulation;
  /** From 0 to 1, from a generator of its own, since no seed decides how bytes are split into chunks. */
  jitter: () => number;
  /** Whether and where the next flight is to be cut. */
  nextDrop: () => DropPoint | undefined;
  controlPlaneFails: () => boolean;
  /** Marks the database as in use, once it is awake. @returns a function that marks it as no longer in use */
  use(): Promise<() => void>;
}

export function createSimulator(initial: object): Simulator {
  let simulation = validate(NO_SIMULATION, initial);
  let random = randomFrom(simulation.seed);
  let jitter = randomFrom(simulation.seed);
  let users = 0;
  let idleSince = Number.NEGATIVE_INFINITY;
  let waking: Promise<void> | undefined;

  const wake = async (coldStart: number) => {
    await sleep(coldStart);
    waking = undefined;
  };
  const release = () => {
    users--;
    idleSince = performance.now();
  };

  return {
    current: () => simulation,
    change(changes) {
      simulation = validate(simulation, changes);
      if (changes['seed'] !== undefined) {
        random = randomFrom(simulation.seed);
        jitter = randomFrom(simulation.seed);
      }
      return simulation;
    },
    jitter: () => jitter(),
    nextDrop() {
      const { drop, dropAt } = simulation;
      if (drop === 0 || random() >= drop) return undefined;
      return dropAt[Math.floor(random() * dropAt.length)];
    },
    controlPlaneFails: () => simulation.controlPlaneErrors > 0 && random() < simulation.controlPlaneErrors,
    async use() {
      const { coldStart, idle } = simulation;
      if (coldStart > 0 && users === 0 && performance.now() - idleSince >= idle * 1000) waking ??= wake(coldStart);
      users++;
      await waking;
      return release;
    },
  };
}

const PROBABILITIES = new Set(['drop', 'controlPlaneErrors']);

/** Milliseconds: a longer timer fires at once. https://nodejs.org/api/timers.html#settimeoutcallback-delay-args */
const MAX = 2 ** 31 - 1;

function validate(current: Simulation, changes: object): Simulation {
  const next: Record<string, unknown> = { ...current };
  for (const [name, value] of Object.entries(changes) as [string, unknown][]) {
    if (!isSetting(name)) {
      throw new TypeError(`${name} is not a setting: the settings are ${Object.keys(NO_SIMULATION).join(', ')}`);
    }
    const expected = expectation(name, value);
    if (expected) throw new TypeError(`${name} ${expected}, not ${JSON.stringify(value)}`);
    next[name] = value;
  }
  return next as unknown as Simulation;
}

const isSetting = (name: string): name is keyof Simulation => Object.hasOwn(NO_SIMULATION, name);

/** What a setting must be, if it is not that. */
function expectation(name: keyof Simulation, value: unknown): string | undefined {
  if (name === 'dropAt') {
    const points: readonly unknown[] = DROP_POINTS;
    const valid = Array.isArray(value) && value.length > 0 && value.every((point) => points.includes(point));
    return valid ? undefined : `must be a list of ${DROP_POINTS.join(', ')}`;
  }
  const byDefault = NO_SIMULATION[name];
  if (typeof byDefault === 'boolean') return typeof value === 'boolean' ? undefined : 'must be true or false';
  if (typeof value !== 'number' || !(value >= 0 && value <= MAX)) return `must be a number from 0 to ${MAX}`;
  return PROBABILITIES.has(name) && value > 1 ? 'must be a probability from 0 to 1' : undefined;
}

/** mulberry32: https://github.com/cprosche/mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
