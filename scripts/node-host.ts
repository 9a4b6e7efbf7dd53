/**
 * Runs the API in Node for `npm run dev`, in a process group of its own, and restarts it when a file changes: forked by dev.ts,
 * driven over IPC, and ended when dev.ts ends, however that is. Usage: node-host.ts ENTRY
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, type FSWatcher, watch } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { HostMessage, HostOptions } from './fork-host.ts';
import { killGroup } from './kill-group.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** What the API is made of. */
const FOLDERS = ['src', 'functions'].map((folder) => path.join(ROOT, folder));

/** Milliseconds; a healthy start takes less than one second. */
const SLOW_START = 5_000;

/** Milliseconds in which an editor has written everything that it saves. */
const SETTLE = 50;

/** Milliseconds for the requests in flight when a file changes. */
const LAST_ANSWER = 1_000;

const [entry = ''] = process.argv.slice(2);

const ARGS = ['--import', new URL('../src/fast-imports.ts', import.meta.url).href, path.join(ROOT, entry)];

process.once('disconnect', () => killGroup(process.pid));

process.once('message', ({ port, inspectorPort, variables }: HostOptions) => {
  // None of this shell's other variables: its DATABASE_URL is not meant.
  const { PATH, SystemRoot } = process.env;
  const env = { PATH, SystemRoot, ...variables, HOST: '127.0.0.1', PORT: String(port) };
  const args = inspectorPort === undefined ? ARGS : [`--inspect=127.0.0.1:${inspectorPort}`, ...ARGS];
  let ready: 'ready' | 'reloaded' = 'ready';

  const start = (): ChildProcess => {
    const api = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const message = 'The API does not listen yet: it still loads, or waits for something while it does.';
    const slow = setTimeout(() => tell({ type: 'log', level: 'error', message }), SLOW_START);
    createInterface(api.stdout).on('line', (line) => {
      if (!line.startsWith('listening on port ')) return tell({ type: 'log', level: 'log', message: line });
      clearTimeout(slow);
      tell({ type: ready });
      ready = 'reloaded';
    });
    createInterface(api.stderr).on('line', (line) => tell({ type: 'log', level: 'error', message: line }));
    api.once('exit', () => {
      clearTimeout(slow);
      if (api.killed) return; // it was told to
      if (ready === 'ready') return tell({ type: 'failed', message: 'The API did not start.' });
      tell({ type: 'log', level: 'error', message: 'The API has ended. It starts again when a file changes.' });
    });
    return api;
  };

  let api = start();
  const restart = async () => {
    const exited = once(api, 'exit');
    const deadline = setTimeout(() => api.kill('SIGKILL'), LAST_ANSWER);
    if (api.kill('SIGINT')) await exited; // ends at once: nothing else sends requests to it
    clearTimeout(deadline);
    api = start();
  };
  let restarted = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let watchers: FSWatcher[] = [];
  const watchAll = () => {
    for (const watcher of watchers) watcher.close();
    watchers = FOLDERS.map((folder) => watch(folder, { recursive: true }, changed));
  };
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!FOLDERS.every((folder) => existsSync(folder))) return changed(); // moved away, and back in a moment
      watchAll(); // anew: on Linux, a file that was replaced by another of its name is no longer watched
      restarted = restarted.then(restart);
    }, SETTLE);
  };
  watchAll();
});

function tell(message: HostMessage): void {
  if (process.connected) process.send?.(message);
}
