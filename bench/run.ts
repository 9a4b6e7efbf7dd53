import { readFile, writeFile } from 'node:fs/promises';
import { measureClaims } from './claims.ts';
import { CLIENTS, type ClientName } from './clients.ts';
import { readArguments } from '../scripts/read-arguments.ts';
import { type Lab, openLab } from './lab.ts';
import { measureCpu, measureTime, median, type Subject, type Time } from './measure.ts';
import { OPERATIONS } from './operations.ts';
import { type Result, report } from './report.ts';

const CONNECTIONS = ['cold', 'warm'] as const;
const SUBJECT = ['client', 'operation', 'auth', 'connection'] as const;

const HELP = `Compares clients of one database: an embedded PostgreSQL behind a simulated distance.

Usage: npm run bench -- [options]
       npm run bench -- gateway    measures the gateway alone; see its --help

  --rtt MS           how far away the database is, there and back (default 20)
  --quick            fewer runs: less than a minute, and noisier
  --client NAME      only ${[...new Set(subjects({}).map(({ client }) => client))].join(' | ')}
  --operation NAME   only ${OPERATIONS.join(' | ')}
  --auth NAME        only neon | planetscale
  --connection NAME  only cold | warm
  --json             print an array of the results and nothing else
  --write            put the results into bench/README.md, too
  --help             show this

Give --client and the like again for more than one.
`;

/** How often everything is measured, and with how many runs each time; the claims have rounds of their own. */
const FULL = { rounds: 3, time: { cold: 2, warm: 4 }, cpu: { cold: 4, warm: 100 }, claimRounds: 40 };
const QUICK: typeof FULL = { rounds: 1, time: { cold: 1, warm: 2 }, cpu: { cold: 2, warm: 30 }, claimRounds: 1 };

/** Milliseconds. */
const MAX_RTT = 10_000;

const README = new URL('README.md', import.meta.url);
const LAST_RUN = '## The last run\n';

try {
  const [subject, ...rest] = process.argv.slice(2);
  const options = subject === 'gateway' ? undefined : readOptions();
  if (!options) await (await import('./gateway.ts')).run(rest);
  else if (options.help) console.log(HELP);
  else await main(options);
} catch (error) {
  process.exitCode = 1;
  console.error(error instanceof Error ? error.message : error);
}

async function main(options: Options): Promise<void> {
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  interrupted.catch(() => {});
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  }
  progress('starting PostgreSQL');
  const lab = await openLab();
  try {
    await Promise.race([interrupted, bench(lab, options)]);
  } finally {
    await lab.close();
  }
}

async function bench(lab: Lab, options: Options): Promise<void> {
  const results = await measureAll(lab, options);
  if (options.json) return console.log(JSON.stringify(results, null, 2));
  if (!options.filtered) progress('claims');
  const claims = options.filtered ? undefined : await measureClaims(lab, options.rtt, options.runs.claimRounds);
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[2K');
  const text = report(results, claims);
  console.log(text);
  if (options.write) {
    const [head = ''] = (await readFile(README, 'utf8')).split(LAST_RUN);
    await writeFile(README, `${head}${LAST_RUN}\n\`\`\`\n${text}\n\`\`\`\n`);
  }
}

async function measureAll(lab: Lab, { rtt, runs, only }: Options): Promise<Result[]> {
  const measured = subjects(only).map((subject) => ({ subject, times: [] as Time[], cpu: [] as number[] }));
  // In turns: while the machine is busy, it is busy for all of them.
  for (let round = 1; round <= runs.rounds; round++) {
    const phase = `round ${round} of ${runs.rounds}`;
    progress(phase);
    for (const { subject, times, cpu } of measured) {
      progress(phase, subject);
      times.push(await measureTime(lab, subject, rtt, runs.time[subject.connection]));
      cpu.push(await measureCpu(lab, subject, runs.cpu[subject.connection]));
    }
  }
  return measured.map(({ subject, times, cpu }) => ({
    ...subject,
    rttMs: rtt,
    roundTrips: median(times.map(({ roundTrips }) => roundTrips)),
    ms: toMicroseconds(median(times.map(({ ms }) => ms))),
    cpuMs: toMicroseconds(median(cpu)),
  }));
}

type Only = Partial<Record<keyof Subject, string[] | undefined>>;

function subjects(only: Only): Subject[] {
  const all = Object.entries(CLIENTS).flatMap(([client, { operations, auths }]) =>
    operations.flatMap((operation) =>
      auths.flatMap((auth) =>
        CONNECTIONS.map((connection): Subject => ({ client: client as ClientName, operation, auth, connection })),
      ),
    ),
  );
  return all.filter((subject) => SUBJECT.every((key) => only[key]?.includes(subject[key]) ?? true));
}

/** What is behind them is noise. */
function toMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** On standard error: standard output is for the results alone. */
function progress(phase: string, subject?: Subject): void {
  const detail = subject ? `: ${Object.values(subject).join(', ')}` : '';
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${phase}${detail}`);
  else if (!subject) console.error(phase);
}

type Options = ReturnType<typeof readOptions>;

/** @throws {Error} that says which option is wrong */
function readOptions() {
  const several = { type: 'string', multiple: true } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = readArguments(HELP, {
    options: {
      rtt: { type: 'string', default: '20' },
      client: several,
      operation: several,
      auth: several,
      connection: several,
      quick: flag,
      json: flag,
      write: flag,
    },
  });
  const { client, operation, auth, connection, quick, json, write, help = false } = values;
  const rtt = Number(values.rtt);
  if (!(rtt >= 0 && rtt <= MAX_RTT)) throw new Error(`--rtt takes milliseconds, 0 to ${MAX_RTT}.`);
  const only: Only = { client, operation, auth, connection };
  if (subjects(only).length === 0) throw new Error('Nothing is left to measure: see --help for the names.');
  const filtered = SUBJECT.some((key) => only[key] !== undefined);
  return { rtt, only, filtered, runs: quick ? QUICK : FULL, json, write: write && !filtered, help };
}
