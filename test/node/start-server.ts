import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Target, TargetOptions } from '../contract.ts';

export interface Server extends Target {
  process: ChildProcess;
  url: string;
}

/** Runs functions/node.ts as `node functions/node.ts` does, on a free port. */
export async function startServer({ databaseUrl, apiToken }: TargetOptions): Promise<Server> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../functions/node.ts', import.meta.url))], {
    env: { DATABASE_URL: databaseUrl, API_TOKEN: apiToken, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk) => (log += String(chunk)));
  const ended = once(child, 'exit').then(() => {
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
