/**
 * Runs the Worker in workerd for `npm run dev`, in a process group of its own: forked by dev.ts, driven over IPC, and ended
 * when dev.ts ends, however that is.
 */
import { globSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type * as wrangler from 'wrangler';
import { withTls } from './environment.ts';
import type { HostMessage, HostOptions } from './fork-host.ts';
import { killGroup } from './kill-group.ts';
import { nameSourceLines } from './source-lines.ts';

// `import` would parse all of its 15 MB twice before it runs them, to tell what kind of module they are and what they export.
const { unstable_readConfig, unstable_startWorker } = createRequire(import.meta.url)('wrangler') as typeof wrangler;

/** Milliseconds; workerd stops in about a tenth of a second, but not while it starts. */
const DISPOSE_DEADLINE = 500;

/** Milliseconds. */
const FIRST_LOAD = 1_500;

/** Milliseconds; an app that never ends loading makes requests wait forever. */
const FIRST_ANSWER = 15_000;

// Wrangler would report on the network at every reload, write log files and ask about metrics. And it would give the Worker what
// wrangler.toml requires and dev.ts does not set from .env and the shell itself, such as the URL of the replica in production.
Object.assign(process.env, {
  CLOUDFLARE_LOAD_DEV_VARS_FROM_DOT_ENV: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_WRITE_LOGS: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
});

let worker: Awaited<ReturnType<typeof unstable_startWorker>> | undefined;

process.once('message', (options: HostOptions) => {
  run(options).catch((error: Error & { location?: { file: string; line: number; column: number } }) => {
    // Wrangler says only in the cause what is wrong, and only beside the message where wrangler.toml is no TOML.
    const { message } = error.cause instanceof Error ? error.cause : error;
    const { file, line, column } = error.location ?? {};
    tell({ type: 'failed', message: file === undefined ? message : `${file}:${line}:${column}: ${message}` });
    if (process.connected) process.disconnect();
  });
});

process.once('disconnect', () => {
  void Promise.race([worker?.dispose(), sleep(DISPOSE_DEADLINE)])
    // Together with the bundler and workerd, if they are still running.
    .finally(() => killGroup(process.pid));
});

async function run({ port, inspectorPort, variables, tcpUrl }: HostOptions): Promise<void> {
  const config = fileURLToPath(new URL('../wrangler.toml', import.meta.url));
  for (const { binding } of unstable_readConfig({ config }).hyperdrive) {
    process.env[`CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_${binding}`] = withTls(tcpUrl);
    variables['DATABASE_URL'] = tcpUrl; // where sessions go
  }
  /** What the first request logs is not to be shown. */
  let isReady = false;
  worker = await unstable_startWorker({
    config,
    // They take precedence over those of a .dev.vars file. If a secret that wrangler.toml requires were no secret here, wrangler
    // would format a warning, with a compiler in a thread of its own, that nobody sees.
    bindings: Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, { type: 'secret_text', value }]),
    ),
    build: { minify: false },
    dev: {
      server: { hostname: '127.0.0.1', port },
      inspector: inspectorPort !== undefined && { hostname: '127.0.0.1', port: inspectorPort },
      logLevel: 'error',
      watch: true,
      persist: false,
      structuredLogsHandler({ level, message }: { level: string; message: string }) {
        if (isReady || level === 'error') tell({ type: 'log', level, message: nameSourceLines(message, newestBundle) });
      },
    },
  });
  const { raw, ready } = worker;
  const refused = new Promise<string>((resolve) => {
    // What is wrong with the app is logged already, other errors are not: for instance that wrangler may not write in the home directory.
    // An event with its cause or, for what is wrong with wrangler.toml, the error itself.
    raw.on('error', (event: Error) => {
      const { code, message } = (event.cause ?? event) as NodeJS.ErrnoException;
      resolve(code === 'ERR_RUNTIME_FAILURE' ? 'it throws while it loads.' : message);
    });
    raw.on('buildFailed', () => resolve('it does not build.'));
  });
  const answered = async () => {
    await ready;
    return fetch(`http://127.0.0.1:${port}/health/live`, { signal: AbortSignal.timeout(FIRST_ANSWER) }).then(
      () => undefined,
      () => `it does not answer within ${FIRST_ANSWER / 1_000} s.`,
    );
  };
  const why = await Promise.race([refused, answered()]);
  if (why !== undefined) throw new Error(`The API did not start: ${why}`);
  isReady = true;
  tell({ type: 'ready' });
  // The first load is reported as a reload, shortly after.
  await sleep(FIRST_LOAD);
  raw.on('reloadComplete', () => tell({ type: 'reloaded' }));
}

/** Where wrangler has put its latest build: what fails while it loads names no path. */
function newestBundle(): string | undefined {
  const folder = fileURLToPath(new URL('../.wrangler/tmp/', import.meta.url));
  const bundles = globSync('dev-*/worker.js', { cwd: folder }).map((name) => path.join(folder, name));
  return bundles.toSorted((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs).at(-1);
}

function tell(message: HostMessage): void {
  if (process.connected) process.send?.(message);
}
