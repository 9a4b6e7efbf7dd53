/**
 * Runs the Worker in workerd for `npm run dev`, in a process group of its own: forked by dev.ts, driven over IPC, and ended
 * with it, however it ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { unstable_startWorker } from 'wrangler';
import type { WorkerHostMessage, WorkerHostOptions } from './fork-worker-host.ts';
import { killGroup } from './kill-group.ts';

/** Milliseconds; workerd stops in about a tenth of a second, but not while it starts. */
const DISPOSE_DEADLINE = 500;

/** Milliseconds. */
const FIRST_LOAD = 1_500;

// Wrangler would report on the network at every reload, write log files and ask about metrics.
Object.assign(process.env, {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_WRITE_LOGS: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
});

let worker: Awaited<ReturnType<typeof unstable_startWorker>> | undefined;

process.once('message', (options: WorkerHostOptions) => {
  run(options).catch((error: unknown) => {
    tell({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    process.disconnect?.();
  });
});

process.once('disconnect', () => {
  void Promise.race([worker?.dispose(), sleep(DISPOSE_DEADLINE)])
    // With the bundler and workerd, if they are still there.
    .finally(() => killGroup(process.pid));
});

async function run({ port, variables }: WorkerHostOptions): Promise<void> {
  worker = await unstable_startWorker({
    config: fileURLToPath(new URL('../wrangler.toml', import.meta.url)),
    bindings: Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, { type: 'plain_text', value }]),
    ),
    build: { minify: false }, // errors with lines a person can find
    dev: {
      server: { hostname: '127.0.0.1', port },
      inspector: false,
      logLevel: 'error',
      watch: true,
      persist: false,
      structuredLogsHandler: ({ level, message }: { level: string; message: string }) =>
        tell({ type: 'log', level, message }),
    },
  });
  await worker.ready;
  tell({ type: 'ready' });
  // The first load is reported as a reload, shortly after.
  await sleep(FIRST_LOAD);
  worker.raw.on('reloadComplete', () => tell({ type: 'reloaded' }));
}

function tell(message: WorkerHostMessage): void {
  if (process.connected) process.send?.(message);
}
