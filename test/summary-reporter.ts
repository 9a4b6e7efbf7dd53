import type { Reporter, TestModule } from 'vitest/node';

/** Ends the output with one line for machines: `N passed, N failed`, of the last run where `npm run test:watch` had several. */
export class SummaryReporter implements Reporter {
  #summary: string | undefined;

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0;
    let failed = errors.length;
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
      }
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
    }
    // Behind the other reporters' summaries.
    if (this.#summary === undefined) process.once('exit', () => console.log(this.#summary));
    this.#summary = `${passed} passed, ${failed} failed`;
  }
}
