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

const SPEAKERS = {
  'drizzle neon-serverless': 'neon',
  db: 'neon',
  'a bare WebSocket': 'neon',
  'db tcp': 'planetscale',
  pg: 'planetscale',
} as const;

/** What the project says of itself. Compared in turns: while the machine is busy, it is busy for all of them. */
export async function measureClaims(lab: Lab, rtt: number, rounds: number): Promise<Claims> {
  const statements = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [client, auth] of Object.entries(SPEAKERS) as [keyof typeof SPEAKERS, 'neon' | 'planetscale'][]) {
      const measured = await measureStatement(lab, client, auth, 10);
      statements.set(client, [...(statements.get(client) ?? []), measured]);
    }
  }
  const turns = { turns: 100 * rounds, times: 3 };
  const [db = Number.NaN, drizzle = Number.NaN] = await compareCpu(lab, ['db', 'drizzle neon-http'], 'one-shot', turns);
  const transfer = (operation: 'transfer' | 'transfer as one CTE') =>
    measureTime(lab, { client: 'db', operation, auth: 'neon', connection: 'warm' }, rtt, 10);
  return {
    // In the first quarter code is still being compiled.
    statementMs: Object.fromEntries(
      [...statements].map(([client, values]) => [client, median(values.slice(Math.floor(rounds / 4)))]),
    ),
    oneShotCpu: { db, drizzle },
    transfer: { interactive: await transfer('transfer'), oneCte: await transfer('transfer as one CTE') },
  };
}
