import { expect, it } from 'vitest';
import { BUDGET, measureSizes } from '../../scripts/size.ts';

it('the database module keeps within what it may add to a bundle', async () => {
  const { baseline, databaseWithFast } = await measureSizes();
  expect(databaseWithFast - baseline).toBeGreaterThan(0);
  expect(databaseWithFast - baseline).toBeLessThanOrEqual(BUDGET);
});
