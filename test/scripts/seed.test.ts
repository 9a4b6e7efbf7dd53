import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, inject, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../database.ts';

/** Runs what `npm run db:seed` runs, where there is no .env. */
async function seed(env: Record<string, string>) {
  const script = fileURLToPath(new URL('../../scripts/seed.ts', import.meta.url));
  return (await promisify(execFile)(process.execPath, [script], { cwd: tmpdir(), env })).stdout;
}

it.each([
  ['neon', 'gatewayPort'],
  ['tcp', 'postgresPort'],
] as const)('npm run db:seed loads the demo data once, over %s', async (transport, to) => {
  const database = await createTestDatabase(inject('stack')[to]);
  onTestFinished(() => database.close());
  const env = { DATABASE_URL: database.url, DATABASE_OWNER_URL: database.ownerUrl, DATABASE_TRANSPORT: transport };
  expect(await seed(env)).toMatch(/^Seeding test_\w+ on 127\.0\.0\.1 …\nLoaded the demo data\.\n$/);
  expect(await seed(env)).toMatch(/\nThe demo data is already there\.\n$/);
});
