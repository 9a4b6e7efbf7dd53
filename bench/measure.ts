import type { Auth, ClientName } from './clients.ts';
import type { Lab, Way } from './lab.ts';
import { type Operation, STATEMENTS } from './operations.ts';

/** What is measured: an operation, each time on a new connection, or on one that has been used. */
export interface Subject {
  client: ClientName;
  operation: Operation;
  auth: Auth;
  connection: 'cold' | 'warm';
}

/** Medians for one operation. */
export interface Time {
  /** Milliseconds. */
  ms: number;
  /** Counted on the way, not by the client; the set-up of a cold connection included. */
  roundTrips: number;
}

/** Runs in front of those that are measured, on a warm connection. */
const WARM_UPS = 1;

/** @param rtt milliseconds */
export function measureTime(lab: Lab, subject: Subject, rtt: number, times: number): Promise<Time> {
  const { client, connection } = subject;
  const cold = connection === 'cold';
  // One more, which does not count: it finds the code not yet compiled.
  return onNewWays(lab, subject, rtt, cold ? times + 1 : 1, async (ways) => {
    const counts = () => ways.map((way) => way.stats().roundTrips);
    const ms: number[] = [];
    const roundTrips: number[] = [];
    await open(lab, subject, urlsOf(ways), cold ? 0 : WARM_UPS);
    for (let i = 0; i < (cold ? 1 : times); i++) {
      const before = counts();
      ms.push(...(await lab.ask(client, { do: 'run', client, times: 1 })).ms);
      // In front of closing, which nobody waits for.
      roundTrips.push(...counts().map((count, way) => count - (before[way] ?? 0)));
    }
    await lab.ask(client, { do: 'close', client });
    const spare = cold ? 1 : 0;
    return { ms: median(ms.slice(spare)), roundTrips: median(roundTrips.slice(spare)) };
  });
}

/**
 * The CPU of the client's process for one operation, without distance, in milliseconds. Opening and closing are part of it
 * where the connection is cold.
 */
export async function measureCpu(lab: Lab, subject: Subject, times: number): Promise<number> {
  const { client, auth, connection } = subject;
  if (connection === 'cold') {
    return onNewWays(lab, subject, 0, times, async (ways) => {
      await open(lab, subject, urlsOf(ways), 0);
      const ran = await lab.ask(client, { do: 'run', client, times: 1 });
      const closed = await lab.ask(client, { do: 'close', client });
      return (ran.cpuMs + closed.cpuMs) / times;
    });
  }
  await open(lab, subject, [lab.directUrl(client, auth)], Math.ceil(times / 4));
  const { cpuMs } = await lab.ask(client, { do: 'run', client, times });
  await lab.ask(client, { do: 'close', client });
  return cpuMs / times;
}

/**
 * The CPU of two clients for one warm operation, in milliseconds: medians. Both are in one process and take short turns, so
 * that neither meets a busier machine or a fuller heap. The first quarter does not count: code is still being compiled.
 */
export async function compareCpu(
  lab: Lab,
  clients: readonly ClientName[],
  operation: Operation,
  { turns, times }: { turns: number; times: number },
): Promise<number[]> {
  const [host] = clients;
  if (!host) return [];
  const measured = clients.map((client) => ({ client, cpu: [] as number[] }));
  for (const client of clients) {
    const subject = { client, operation, auth: 'neon', connection: 'warm' } as const;
    await open(lab, subject, [lab.directUrl(client, 'neon')], WARM_UPS, host);
  }
  for (let turn = 0; turn < turns; turn++) {
    for (const { client, cpu } of measured) {
      const { cpuMs } = await lab.ask(host, { do: 'run', client, times });
      cpu.push(cpuMs / times);
    }
  }
  for (const client of clients) await lab.ask(host, { do: 'close', client });
  return measured.map(({ cpu }) => median(cpu.slice(turns / 4)));
}

/** Milliseconds for one statement of an open transaction, with nothing on the way. */
export async function measureStatement(lab: Lab, client: ClientName, auth: Auth, times: number): Promise<number> {
  const subject = { client, auth, operation: 'statements', connection: 'warm' } as const;
  await open(lab, subject, [lab.directUrl(client, auth)], WARM_UPS);
  const { ms } = await lab.ask(client, { do: 'run', client, times });
  await lab.ask(client, { do: 'close', client });
  return median(ms) / STATEMENTS;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = low] = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1);
  return (low + high) / 2;
}

const open = (lab: Lab, { client, operation, auth }: Subject, urls: string[], warmUps: number, host = client) =>
  lab.ask(host, { do: 'open', client, auth, operation, urls, warmUps });

const urlsOf = (ways: readonly Way[]) => ways.map(({ url }) => url);

async function onNewWays<T>(
  lab: Lab,
  { client, auth }: Subject,
  rtt: number,
  count: number,
  work: (ways: Way[]) => Promise<T>,
): Promise<T> {
  const ways = await lab.openWays(client, auth, rtt, count);
  try {
    return await work(ways);
  } finally {
    await Promise.all(ways.map((way) => way.close()));
  }
}
