import '../src/fast-imports.ts';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import type { Stack } from '../local/stack.ts';
import { startTemporaryStack } from '../local/temporary-stack.ts';
import { bundleLambda } from '../scripts/build-lambda.ts';
import { applyMigrations } from '../scripts/apply-migrations.ts';
import { PRISTINE } from './pristine.ts';
import { buildWorker } from './workers/build-worker.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** `postgresql://` URLs of the migrated database, which each test file copies: see test/database.ts. */
    stack: {
      app: string;
      owner: string;
      superuser: string;
      postgresPort: number;
      gatewayPort: number;
      poolerPort: number;
    };
    /** The Worker as `npm run build` makes it. */
    workerBundle: string;
    /** The directory that `npm run build:lambda` zips. */
    lambdaBundle: string;
  }
}

/** One PostgreSQL and one gateway for all test files, on free ports, in a temporary directory. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stack = await startTemporaryStack({ settings: { fsync: 'off' } });
  const lambda = `${stack.directory}/lambda`;
  const prepare = async () => {
    await Promise.all([
      migrate(stack),
      buildWorker(`${stack.directory}/worker`).then((file) => project.provide('workerBundle', file)),
      bundleLambda(lambda).then(() => project.provide('lambdaBundle', lambda)),
    ]);
  };
  try {
    await prepare();
    // In watch mode: tests that run again would meet the tables and the code of before. Unit tests need neither, and do not wait.
    project.onTestsRerun(async (tests) => {
      if (tests.some(({ moduleId }) => !moduleId.includes('/test/unit/'))) await prepare().catch(console.error);
    });
    project.provide('stack', {
      ...stack.url,
      superuser: stack.postgres.superuserUrl,
      postgresPort: stack.postgres.port,
      gatewayPort: stack.gateway.port,
      poolerPort: stack.gateway.poolerPort,
    });
    return () => stack.close();
  } catch (error) {
    await stack.close();
    throw error;
  }
}

/** Applies the migrations, and makes the database that test files copy. */
async function migrate({ url, postgres }: Stack): Promise<void> {
  await applyMigrations(url.owner, url.app);
  const admin = new pg.Client({ connectionString: postgres.superuserUrl });
  await admin.connect();
  await admin.query(`drop database if exists ${PRISTINE}`);
  await admin.query(`create database ${PRISTINE} template app`);
  await admin.end();
}
