import { availableParallelism, cpus, loadavg, release, type } from 'node:os';
import type { Claims } from './claims.ts';
import type { Subject } from './measure.ts';
import { OPERATIONS } from './operations.ts';

/** A line of the table, and of `--json`. Times are in milliseconds. */
export interface Result extends Subject {
  rttMs: number;
  roundTrips: number;
  ms: number;
  cpuMs: number;
}

/** Everything for a person. */
export function report(results: readonly Result[], claims: Claims | undefined): string {
  return [machine(), ...tables(results), NOTES, ...(claims ? [describe(claims)] : [])].join('\n\n');
}

function machine(): string {
  const [cpu] = cpus();
  const name = `${availableParallelism()} × ${cpu?.model ?? 'unknown CPU'}, ${type()} ${release()}, Node ${process.version}`;
  return `${name}\nLoad average at the end, this included: ${loadavg()[0]?.toFixed(1)}`;
}

const WHAT = {
  'one-shot': 'One-shot, one statement',
  batch: 'Batch, five statements, atomic',
  transaction: 'Transaction, three statements, each needs the one before it',
} as const;

const LOG_IN = { neon: 'cleartext password (Neon)', planetscale: 'SCRAM (PlanetScale)' };

function tables(results: readonly Result[]): string[] {
  const blocks: string[] = [];
  for (const operation of OPERATIONS) {
    for (const connection of ['cold', 'warm'] as const) {
      for (const auth of ['neon', 'planetscale'] as const) {
        const rows = results.filter(
          (result) => result.operation === operation && result.connection === connection && result.auth === auth,
        );
        if (rows.length === 0) continue;
        const title = `${WHAT[operation]}: ${connection}, ${LOG_IN[auth]}, ${rows[0]?.rttMs} ms away`;
        blocks.push(`${title}\n${table(rows)}`);
      }
    }
  }
  return blocks;
}

function table(rows: readonly Result[]): string {
  const cells = rows
    .toSorted((a, b) => a.ms - b.ms)
    .map(({ client, roundTrips, ms, cpuMs }) => [
      client,
      String(roundTrips),
      `${ms.toFixed(1)} ms`,
      `${cpuMs.toFixed(2)} ms`,
    ]);
  return align([['', 'round trips', 'time', 'client CPU'], ...cells]);
}

/** Columns of text: the first to the left, the others to the right. */
function align(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('   ');
  return rows.map((row) => `  ${line(row)}`).join('\n');
}

const NOTES = `Round trips are counted between client and server, the set-up of a cold connection included: TCP and TLS 1.3 (2), or to
PostgreSQL itself TCP, the request for TLS and TLS 1.3 (3); then the WebSocket's upgrade, and the log-in.
Not in the tables, because it cannot be done: a transaction over neon() or drizzle neon-http. drizzle neon-serverless and
pg have no batch: five statements in a transaction stand in for it. Over HTTP the log-in is a header, whoever the provider.`;

function describe({ statementMs, oneShotCpu, transfer }: Claims): string {
  const { interactive, oneCte } = transfer;
  return [
    'A statement of an open transaction, no distance',
    align(Object.entries(statementMs).map(([client, ms]) => [client, `${ms.toFixed(2)} ms`])),
    '',
    'CPU of a warm one-shot over HTTP, measured in turns',
    align([
      ['drizzle neon-http', `${oneShotCpu.drizzle.toFixed(3)} ms`],
      ['db', `${oneShotCpu.db.toFixed(3)} ms`],
      ['db / drizzle neon-http', (oneShotCpu.db / oneShotCpu.drizzle).toFixed(2)],
    ]),
    '',
    "The ledger's transfer through db, warm",
    align([
      ['', 'round trips', 'time'],
      ['interactive transaction', String(interactive.roundTrips), `${interactive.ms.toFixed(1)} ms`],
      ['one CTE over HTTP', String(oneCte.roundTrips), `${oneCte.ms.toFixed(1)} ms`],
    ]),
  ].join('\n');
}
