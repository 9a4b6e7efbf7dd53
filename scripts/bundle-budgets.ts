import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Bundle, unusedModules } from './bundles/bundle.ts';
import { lambdaBundle } from './bundles/lambda.ts';
import { workerBundle } from './bundles/worker.ts';
import { measureImport } from './measure-import.ts';
import { runCommand } from './run-command.ts';

const BUNDLES = [
  workerBundle, // a line each
  lambdaBundle,
];

/** Milliseconds, on two cores. */
const IMPORT_BUDGET = 25;

/** Processes for each import; the median of them counts. */
const RUNS = 9;

export interface Measurement {
  what: string;
  /** Where a number does not say enough. */
  which?: string;
  measured: number;
  budget: number;
  unit: 'kB gzip' | 'kB zip' | 'ms' | 'modules';
}

/** Builds the bundles that are deployed, in a directory of their own, and measures them. */
export async function measureBundles(): Promise<Measurement[]> {
  const directory = await mkdtemp(path.join(tmpdir(), 'bundles-'));
  try {
    const measurements: Measurement[] = [];
    for (const build of BUNDLES) {
      const bundle = await build(path.join(directory, build.name));
      measurements.push(...contents(bundle));
      for (const [name, url] of Object.entries(bundle.entries)) {
        const measured = await measureImport(url, RUNS);
        measurements.push({ what: `${name}: import`, measured, budget: IMPORT_BUDGET, unit: 'ms' });
      }
    }
    return measurements;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What does not depend on the machine. */
export function contents({ name, outputs, unused, size }: Bundle): Measurement[] {
  const modules = unusedModules({ outputs, unused });
  return [
    { what: `${name}: size`, ...size },
    { what: `${name}: unused`, which: modules.join(', '), measured: modules.length, budget: 0, unit: 'modules' },
  ];
}

/** @throws {Error} with the table when a budget is exceeded */
export function bundleTable(measurements: Measurement[]): string {
  const rows = measurements.map(({ what, measured, budget, unit, which = '' }) => {
    const digits = unit === 'modules' ? 0 : 1;
    const over = measured > budget ? `  over its budget ${which}`.trimEnd() : '';
    return `${what.padEnd(27)}${measured.toFixed(digits).padStart(6)} of ${String(budget).padStart(3)} ${unit}${over}`;
  });
  const table = rows.join('\n');
  if (measurements.some(({ measured, budget }) => measured > budget)) throw new Error(table);
  return table;
}

if (import.meta.main) await runCommand(async () => bundleTable(await measureBundles()));
