import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/summary-reporter.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    reporters: ['default', new SummaryReporter()],
    silent: 'passed-only',
    passWithNoTests: false,
    // The tests of npm run dev mostly wait: others run beside them, on two cores too.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    // Files share their worker's modules: importing drizzle, the driver and PostgreSQL's clients anew costs more than most tests.
    isolate: false,
    // Generous, for busy machines: what hangs fails all the same.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
