import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { SummaryReporter } from './test/summary-reporter.ts';

/** Tests that start whole processes take longest: they begin first, also where no earlier run has told. */
const STARTS_PROCESSES = /\/(dev(-\w+)?|gateway-command|lifetime)\.test\./;

/** What runs on a laptop alone: npm run dev, the gateway, the scripts and what they build. */
const LOCAL = ['test/{local,scripts}/**/*.test.ts', 'test/*/bundle.test.ts'];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => (STARTS_PROCESSES.test(moduleId) ? 0 : 1);
    // oxlint-disable-next-line unicorn/no-array-sort -- a sequencer's method, not an array's
    const byDuration = await super.sort(files);
    return byDuration.toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'app',
          include: ['test/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'test/platforms/**', ...LOCAL],
        },
      },
      { extends: true, test: { name: 'local', include: LOCAL } },
      // What needs the platforms' own tools, which npm run test:platforms installs, or takes long.
      {
        extends: true,
        test: {
          name: 'platforms',
          include: ['test/platforms/*.test.ts'],
          globalSetup: ['test/platforms/global-setup.ts'],
        },
      },
    ],
    globalSetup: ['test/global-setup.ts'],
    reporters: ['default', new SummaryReporter()],
    silent: 'passed-only',
    passWithNoTests: false,
    // The tests of npm run dev mostly wait: others run beside them, on two cores too.
    maxWorkers: Math.max(4, availableParallelism() - 1),
    // Files share their worker's modules: importing drizzle, the driver and PostgreSQL's clients anew costs more than most tests.
    isolate: false,
    execArgv: ['--import', new URL('src/fast-imports.ts', import.meta.url).href],
    sequence: { sequencer: LongestFirst },
    // Generous, for busy machines: what hangs fails all the same.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
