import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { anyFreePort } from '../local/ports.ts';
import { deletePostgres } from '../local/postgres.ts';
import { type Stack, startStack } from '../local/stack.ts';
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
  const directory = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-test-'));
  const stack = await startStack({
    directory,
    postgresPort: await anyFreePort(),
    gatewayPort: 0,
    settings: { fsync: 'off' },
  });
  const teardown = async () => {
    await stack.close();
    await deletePostgres(directory);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all([
      migrate(stack),
      buildWorker(path.join(directory, 'worker')).then((file) => project.provide('workerBundle', file)),
      bundleLambda(path.join(directory, 'lambda')).then(() => project.provide('lambdaBundle', `${directory}/lambda`)),
    ]);
    project.provide('stack', {
      ...stack.url,
      superuser: stack.postgres.superuserUrl,
      postgresPort: stack.postgres.port,
      gatewayPort: stack.gateway.port,
      poolerPort: stack.gateway.poolerPort,
    });
    return teardown;
  } catch (error) {
    await teardown();
    throw error;
  }
}

/** Applies the migrations, and makes the database that test files copy. */
async function migrate({ url, postgres }: Stack): Promise<void> {
  await applyMigrations(url.owner, url.app);
  const admin = new pg.Client({ connectionString: postgres.superuserUrl });
  await admin.connect();
  await admin.query(`create database ${PRISTINE} template app`);
  await admin.end();
}
