import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import type { Target, TargetOptions } from '../contract.ts';

export interface Server extends Target {
  process: ChildProcess;
  url: string;
}

const FAST_IMPORTS = new URL('../../src/fast-imports.ts', import.meta.url).href;

/**
 * Runs a server in a process of its own, on a free port.
 * @param args of node: a script that listens on PORT and says so
 */
export async function startServer(
  { databaseUrl, apiToken }: TargetOptions,
  args: string[],
  cwd?: string,
): Promise<Server> {
  const child = spawn(process.execPath, ['--import', FAST_IMPORTS, ...args], {
    env: { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: databaseUrl, API_TOKEN: apiToken, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  });
  let log = '';
  child.stderr.on('data', (chunk) => (log += String(chunk)));
  const ended = once(child, 'close').then(() => {
    throw new Error(`the server has ended:\n${log}`);
  });
  ended.catch(() => {}); // as it should, later
  const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string];
  const url = `http://127.0.0.1:${/^listening on port (\d+)$/.exec(line)?.[1]}`;
  return {
    process: child,
    url,
    fetch: (path, init) => fetch(`${url}${path}`, init),
    async close() {
      if (child.kill('SIGTERM')) await once(child, 'exit');
    },
  };
}
