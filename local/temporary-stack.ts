import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { anyFreePort } from './ports.ts';
import { deletePostgres } from './postgres.ts';
import { type Stack, type StackOptions, startStack } from './stack.ts';

export interface TemporaryStack extends Stack {
  /** Everything is kept below it, and `close` deletes it. */
  directory: string;
}

/** A stack for tests and measurements: on free ports, in a directory of its own. */
export async function startTemporaryStack(
  options: Omit<StackOptions, 'directory' | 'postgresPort' | 'gatewayPort'> = {},
): Promise<TemporaryStack> {
  const directory = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(directory, { recursive: true, force: true }));
  cleanup.defer(() => deletePostgres(directory));
  const stack = await startStack({ directory, postgresPort: await anyFreePort(), gatewayPort: 0, ...options });
  cleanup.defer(() => stack.close());
  const running = cleanup.move();
  return { ...stack, directory, close: () => running.disposeAsync() };
}
