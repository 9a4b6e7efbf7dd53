import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Bundle, unusedModules } from './bundles/bundle.ts';
import { lambdaBundle } from './bundles/lambda.ts';
import { vercelBundle } from './bundles/vercel.ts';
import { workerBundle } from './bundles/worker.ts';
import { measureImport, median } from './measure-import.ts';
import { runCommand } from './run-command.ts';
import { SIZE_HELP, sizeTable } from './size.ts';

const BUNDLES = [
  workerBundle, // a line each
  lambdaBundle,
  vercelBundle,
];

/** Bundles are made here, where they find the packages that are not bundled. */
const DIST = fileURLToPath(new URL('../dist', import.meta.url));

/** Milliseconds that the import of the Neon driver alone takes on the budgets' machine. */
const DRIVER_MS = 9;
const DRIVER = new URL(import.meta.resolve('@neondatabase/serverless'));

/** Processes per import; the median counts. */
const RUNS = 15;

/** How often an import that is over its budget is measured. */
const ROUNDS = 3;

export interface Measurement {
  what: string;
  /** What the number does not say. */
  remark?: string;
  measured: number;
  budget: number;
  unit: 'kB gzip' | 'kB zip' | 'ms' | 'modules';
}

/** Builds the bundles that are deployed, in a directory of their own, and measures them. */
export async function measureBundles(): Promise<Measurement[]> {
  await mkdir(DIST, { recursive: true });
  const directory = await mkdtemp(path.join(DIST, 'bundles-'));
  try {
    const measurements: Measurement[] = [];
    for (const build of BUNDLES) {
      const bundle = await build(path.join(directory, build.name));
      measurements.push(...contents(bundle));
      for (const [name, url] of Object.entries(bundle.entries)) {
        measurements.push({ what: `${name}: import`, ...(await measureStart(url, bundle.importBudget)) });
      }
    }
    return measurements;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The best of some rounds: a busy machine can only be slower. */
async function measureStart(url: URL, budget: number) {
  let best = await measureRound(url);
  for (let round = 1; round < ROUNDS && best.measured > budget; round++) {
    const next = await measureRound(url);
    if (next.measured < best.measured) best = next;
  }
  return { ...best, budget, unit: 'ms' as const };
}

/** Converted to milliseconds on the budget's machine, as this one may differ. In turns, as it may also be busy. */
async function measureRound(url: URL) {
  const times: { here: number; driver: number }[] = [];
  for (let i = 0; i < RUNS; i++)
    times.push({ here: await measureImport(url, 1), driver: await measureImport(DRIVER, 1) });
  const ratio = median(times.map(({ here, driver }) => here / driver));
  const remark = `${ratio.toFixed(1)} times the driver alone; here ${median(times.map(({ here }) => here)).toFixed(1)} ms`;
  return { measured: ratio * DRIVER_MS, remark };
}

/** The measurements that do not depend on the machine. */
export function contents({ name, outputs, unused, size }: Bundle): Measurement[] {
  const modules = unusedModules({ outputs, unused });
  return [
    { what: `${name}: size`, ...size },
    { what: `${name}: unused`, remark: modules.join(', '), measured: modules.length, budget: 0, unit: 'modules' },
  ];
}

const ADVICE = 'Leave out what is not needed, or raise the budget in scripts/bundles/.';

/** @throws {Error} with the table when a budget is exceeded */
export function bundleTable(measurements: Measurement[]): string {
  const rows = measurements.map(({ what, measured, budget, unit, remark = '' }) => {
    const digits = unit === 'modules' ? 0 : 1;
    const over = measured > budget ? '  over its budget' : '';
    const amount = `${measured.toFixed(digits).padStart(6)} of ${String(budget).padStart(3)} ${unit}`;
    return `${what.padEnd(27)}${amount}${over}  ${remark}`.trimEnd();
  });
  const table = rows.join('\n');
  if (measurements.some(({ measured, budget }) => measured > budget)) throw new Error(`${table}\n${ADVICE}`);
  return table;
}

const HELP = `${SIZE_HELP}
Then builds every bundle that is deployed, starts each ${RUNS} times in a process of its own, and prints its size and the
time that it takes to start, against their budgets. Fails when one is exceeded. Takes half a minute.
`;

if (import.meta.main) {
  await runCommand(HELP, {}, async () => {
    console.log(await sizeTable());
    console.error('Building and starting the bundles …');
    return bundleTable(await measureBundles());
  });
}
