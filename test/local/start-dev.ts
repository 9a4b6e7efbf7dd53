import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, onTestFinished, vi } from 'vitest';
import { deletePostgres } from '../../local/postgres.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { PATIENCE } from '../database.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What the app does not start without. */
export const DOT_ENV = Object.entries(EXAMPLE_ENVIRONMENT)
  .map(([name, value]) => `${name}=${value}\n`)
  .join('');

interface Dev {
  child: ChildProcess;
  output: () => string;
  exited: Promise<number | null>;
}

/** A directory with an `.env`, and a space in its name, for the databases of one test file: deleted with them behind it. */
export async function makeData(): Promise<string> {
  const data = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter dev-'));
  await writeFile(path.join(data, '.env'), DOT_ENV);
  afterAll(async () => {
    await deletePostgres(data);
    await rm(data, { recursive: true, force: true });
  });
  return data;
}

/** Starts `npm run dev` in a directory with an `.env`, with its database there, too, unless the options name another place. */
export function startDev(directory: string, ...options: string[]): Dev {
  const child = spawn(process.execPath, [path.join(ROOT, 'scripts/dev.ts'), '--data', directory, ...options], {
    cwd: directory,
    env: {
      ...process.env,
      DATABASE_URL: 'postgresql://nobody:nothing@nowhere.example/never',
      DATABASE_REPLICA_URL: 'postgresql://nobody:nothing@nowhere.example/never',
      NO_COLOR: '1',
      PGSSLMODE: 'require',
      PGOPTIONS: '-c default_transaction_read_only=on',
      STARTED_ON: directory, // tells what it has started from what others have
    },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += String(chunk)));
  return {
    child,
    output: () => text,
    exited: new Promise((resolve) => child.once('close', resolve)), // not 'exit', which comes before the last of its output
  };
}

export async function ready(dev: Dev): Promise<string> {
  // After an assertion that failed it would run on, and the tests behind find its data in use.
  onTestFinished(async () => {
    if (dev.child.kill('SIGTERM')) await dev.exited;
  });
  for (const end = Date.now() + 3 * PATIENCE; Date.now() < end; await sleep(20)) {
    const url = /^ready (http\S+)$/m.exec(dev.output())?.[1];
    if (url) return url;
    if (dev.child.exitCode !== null) break;
  }
  throw new Error(`not ready:\n${dev.output()}`);
}

/** Processes that were started on this data, or serve its port. */
function processes(data: string, port: number): string[] {
  const ours = [data, `127.0.0.1:${port}`, ` PORT=${port}`];
  return execFileSync('ps', ['axeww', '-o', 'stat,command'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => !line.startsWith('Z') && ours.some((part) => line.includes(part)));
}

/** Resolves when nothing is left of what was started on this data, or served this port. */
export async function untilGone(data: string, port: number): Promise<void> {
  await vi.waitFor(() => expect(processes(data, port)).toEqual([]), PATIENCE);
}
