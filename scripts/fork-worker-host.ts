import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { killGroup } from './kill-group.ts';

export interface WorkerHostOptions {
  port: number;
  /** The Worker's variables; they take precedence over those of a .dev.vars file. */
  variables: Record<string, string>;
}

export type WorkerHostMessage =
  | { type: 'ready' }
  | { type: 'reloaded' }
  | { type: 'failed'; message: string }
  | { type: 'log'; level: string; message: string };

export interface WorkerHost {
  /** Serves the Worker. Rejects when it cannot be started. */
  serve(options: WorkerHostOptions): Promise<void>;
  /** Resolves when the process has ended, for whatever reason. */
  ended: Promise<unknown>;
  close(): Promise<void>;
}

export type WorkerLog = Extract<WorkerHostMessage, { type: 'log' | 'reloaded' }>;

/** Milliseconds; a healthy start takes about one second. */
const START_DEADLINE = 30_000;

/** Milliseconds; the host gives up after half of it. */
const STOP_DEADLINE = 1_000;

/** Forks the process that runs workerd. It loads its tools meanwhile, so fork it before there is anything to serve. */
export function forkWorkerHost(onLog: (log: WorkerLog) => void): WorkerHost {
  const child = fork(fileURLToPath(new URL('worker-host.ts', import.meta.url)), {
    // A process group of its own: Ctrl-C in a terminal reaches only dev.ts, which ends the host in order.
    detached: true,
    // Wrangler is large: compiled once, it loads in two thirds of the time.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('../node_modules/.cache/node', import.meta.url)), ...process.env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');

  return {
    serve: (options) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('workerd did not become ready.')), START_DEADLINE);
        const settle = (error?: Error) => {
          clearTimeout(timer);
          if (error) reject(error);
          else resolve();
        };
        child.on('message', (message: WorkerHostMessage) => {
          if (message.type === 'failed') settle(new Error(message.message));
          else if (message.type === 'ready') settle();
          else onLog(message);
        });
        ended.then(() => settle(new Error('workerd ended while it started.')), settle);
        if (child.connected) child.send(options);
      }),
    ended,
    async close() {
      if (child.connected) child.disconnect();
      const { pid } = child;
      if (pid === undefined) return; // it was never started
      const timer = setTimeout(() => killGroup(pid), STOP_DEADLINE);
      await ended;
      clearTimeout(timer);
    },
  };
}
