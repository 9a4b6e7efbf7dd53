import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { BUDGET, measureSizes } from '../../scripts/size.ts';

const PATTERN = fileURLToPath(new URL('../../src/db', import.meta.url));

it('the database module keeps within what it may add to a bundle', async () => {
  const { baseline, databaseWithFast } = await measureSizes();
  expect(databaseWithFast - baseline).toBeGreaterThan(0);
  expect(databaseWithFast - baseline).toBeLessThanOrEqual(BUDGET);
});

it('what there is to read of the database module stays within a thousand lines', async () => {
  const files = (await readdir(PATTERN)).filter((name) => name.endsWith('.ts'));
  const texts = await Promise.all(files.map((name) => readFile(path.join(PATTERN, name), 'utf8')));
  const lines = texts.join('').split('\n').length - 1;
  expect(lines).toBeGreaterThan(500);
  expect(lines).toBeLessThanOrEqual(1_000);
});
