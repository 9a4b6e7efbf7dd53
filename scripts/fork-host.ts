import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { killGroup } from './kill-group.ts';

/** What serves the API for `npm run dev`: the script that hosts it, its entry where there are several, and a name for people. */
export const RUNTIMES = {
  workers: ['worker-host.ts', [], 'workerd'],
  vercel: ['node-host.ts', ['scripts/serve-vercel.ts'], 'Node, as on Vercel'],
  lambda: ['node-host.ts', ['scripts/serve-lambda.ts'], 'Node, as on Lambda'],
  node: ['node-host.ts', ['functions/node.ts'], 'Node'],
} as const satisfies Record<string, readonly [host: string, args: readonly string[], name: string]>;

export type Runtime = keyof typeof RUNTIMES;

export interface HostOptions {
  port: number;
  /** Where a debugger may attach, if anywhere. */
  inspectorPort: number | undefined;
  /** The app's environment. */
  variables: Record<string, string>;
  /** The URL of PostgreSQL itself, for the app's role. */
  tcpUrl: string;
}

export type HostMessage =
  | { type: 'ready' }
  | { type: 'reloaded' }
  | { type: 'failed'; message: string }
  | { type: 'log'; level: string; message: string };

export type HostLog = Extract<HostMessage, { type: 'log' | 'reloaded' }>;

export interface Host {
  /** Serves the API. Rejects when it cannot be started. */
  serve(options: HostOptions): Promise<void>;
  /** Resolves when the process has ended, for whatever reason. */
  ended: Promise<unknown>;
  close(): Promise<void>;
}

/** Milliseconds; a healthy start takes about one second. */
const START_DEADLINE = 30_000;

/** Milliseconds; the host gives up after half of it. */
const STOP_DEADLINE = 1_000;

/** Forks the process that runs the API. It takes time to load its tools, so fork it before there is anything to serve. */
export function forkHost(runtime: Runtime, onLog: (log: HostLog) => void): Host {
  const [host, args] = RUNTIMES[runtime];
  const child = fork(fileURLToPath(new URL(host, import.meta.url)), args, {
    // A process group of its own: Ctrl-C in a terminal reaches only dev.ts, which stops the host cleanly. On Windows, what the
    // host starts would have no console, and open a window instead.
    detached: process.platform !== 'win32',
    // Its tools are large: compiled once, they load in two thirds of the time.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('../node_modules/.cache/node', import.meta.url)), ...process.env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  // If it was killed, for instance because memory ran out, what it has started would go on, and keep the port.
  child.once('exit', () => {
    if (child.pid !== undefined) killGroup(child.pid);
  });

  let isServing = false;
  return {
    serve: (options) =>
      new Promise<void>((resolve, reject) => {
        isServing = true;
        const late = `The API was not ready after ${START_DEADLINE / 1000} s: it may wait for something while it loads.`;
        const timer = setTimeout(() => reject(new Error(late)), START_DEADLINE);
        const settle = (error?: Error) => {
          clearTimeout(timer);
          if (error) reject(error);
          else resolve();
        };
        child.on('message', (message: HostMessage) => {
          if (message.type === 'failed') settle(new Error(message.message));
          else if (message.type === 'ready') settle();
          else onLog(message);
        });
        ended.then(() => settle(new Error('The API ended while it was starting.')), settle);
        if (child.connected) child.send(options);
      }),
    ended,
    async close() {
      if (child.connected) child.disconnect();
      const { pid } = child;
      if (pid === undefined) return; // it was never started
      // What still loads its tools does not hear that it is to stop, and has started nothing.
      const timer = setTimeout(() => killGroup(pid), isServing ? STOP_DEADLINE : 0);
      await ended;
      clearTimeout(timer);
    },
  };
}
