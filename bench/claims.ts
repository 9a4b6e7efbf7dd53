import type { Auth, ClientName } from './clients.ts';
import type { Lab } from './lab.ts';
import { compareCpu, measureStatement, measureTime, median, type Time } from './measure.ts';

export interface Claims {
  /** Milliseconds for a statement of an open transaction, without distance. */
  statementMs: Record<string, number>;
  /** CPU of a warm one-shot in milliseconds. */
  oneShotCpu: { db: number; drizzle: number };
  /** The ledger's transfer, on a warm connection. */
  transfer: { interactive: Time; oneCte: Time };
}

/** Each with the log-in it is measured with, and its runs a round: the first waits for a timer a statement. */
const SPEAKERS: [ClientName, Auth, number][] = [
  ['drizzle neon-serverless', 'neon', 1],
  ['db', 'neon', 10],
  ['a bare WebSocket', 'neon', 10],
  ['db tcp', 'planetscale', 10],
  ['pg', 'planetscale', 10],
];

/** What the project says of itself. Compared in turns: while the machine is busy, it is busy for all of them. */
export async function measureClaims(lab: Lab, rtt: number, rounds: number): Promise<Claims> {
  const statements = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [client, auth, times] of SPEAKERS) {
      const measured = await measureStatement(lab, client, auth, times);
      statements.set(client, [...(statements.get(client) ?? []), measured]);
    }
  }
  const turns = { turns: 40 * rounds, times: 3 };
  const [db = Number.NaN, drizzle = Number.NaN] = await compareCpu(lab, ['db', 'drizzle neon-http'], 'one-shot', turns);
  const transfer = (operation: 'transfer' | 'transfer as one CTE') =>
    measureTime(lab, { client: 'db', operation, auth: 'neon', connection: 'warm' }, rtt, 10);
  return {
    // In the first quarter, ten thousand statements of most clients, code is still being compiled, the gateway's among it.
    statementMs: Object.fromEntries(
      [...statements].map(([client, values]) => [client, median(values.slice(Math.floor(rounds / 4)))]),
    ),
    oneShotCpu: { db, drizzle },
    transfer: { interactive: await transfer('transfer'), oneCte: await transfer('transfer as one CTE') },
  };
}
