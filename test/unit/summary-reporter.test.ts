import { expect, it } from 'vitest';
import { runModule } from '../run-module.ts';

it('however often tests run again, one summary ends the output: of the last run', async () => {
  const { stdout, stderr } = await runModule(`
    import { SummaryReporter } from './test/summary-reporter.ts';
    const reporter = new SummaryReporter();
    for (let run = 12; run > 0; run--) reporter.onTestRunEnd([], Array(run).fill('an error'));
  `);
  expect(stdout).toBe('0 passed, 1 failed\n');
  expect(stderr).toBe('');
});
