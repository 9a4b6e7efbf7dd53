import type { ClientName } from './clients.ts';
import type { Lab } from './lab.ts';
import { measureCpu, measureStatement, measureTime, median, type Subject, type Time } from './measure.ts';

export interface Claims {
  /** Milliseconds for a statement of an open transaction, without distance. */
  statementMs: Record<string, number>;
  /** CPU of a warm one-shot in milliseconds, and the median of what each round's ratio was. */
  oneShotCpu: { db: number; drizzle: number; ratio: number };
  /** The ledger's transfer, on a warm connection. */
  transfer: { interactive: Time; oneCte: Time };
}

const SPEAKERS = { 'drizzle neon-serverless': 'neon', pg: 'planetscale', db: 'neon', 'db tcp': 'planetscale' } as const;

/** What the project says of itself. Compared in turns: while the machine is busy, it is busy for all of them. */
export async function measureClaims(lab: Lab, rtt: number, rounds: number): Promise<Claims> {
  const statements = new Map<string, number[]>();
  const drizzle: number[] = [];
  const db: number[] = [];
  const oneShot = (client: ClientName): Subject => ({
    client,
    operation: 'one-shot',
    auth: 'neon',
    connection: 'warm',
  });
  for (let round = 0; round < rounds; round++) {
    for (const [client, auth] of Object.entries(SPEAKERS) as [keyof typeof SPEAKERS, 'neon' | 'planetscale'][]) {
      const measured = await measureStatement(lab, client, auth, 3);
      statements.set(client, [...(statements.get(client) ?? []), measured]);
    }
    drizzle.push(await measureCpu(lab, oneShot('drizzle neon-http'), 150));
    db.push(await measureCpu(lab, oneShot('db'), 150));
  }
  const transfer = (operation: 'transfer' | 'transfer as one CTE') =>
    measureTime(lab, { client: 'db', operation, auth: 'neon', connection: 'warm' }, rtt, 10);
  return {
    statementMs: Object.fromEntries([...statements].map(([client, values]) => [client, median(values)])),
    oneShotCpu: {
      db: median(db),
      drizzle: median(drizzle),
      ratio: median(db.map((ms, i) => ms / (drizzle[i] ?? Number.NaN))),
    },
    transfer: { interactive: await transfer('transfer'), oneCte: await transfer('transfer as one CTE') },
  };
}
