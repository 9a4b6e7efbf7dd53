import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import { describeError } from './describe-error.ts';

export interface Lifetime {
  /** Remembers how to stop what was just started; throws if the end has come meanwhile. */
  started: (cleanup: () => Promise<unknown>) => void;
  /** Stops everything when something ends that nothing works without. */
  endWith: (ended: Promise<unknown>, message: string) => void;
}

export const POSTGRES_ENDED = 'PostgreSQL has ended unexpectedly: postgres.log in its data directory may say why.';

/** Milliseconds after which a second signal counts as another request. */
const AGAIN = 500;

/** Milliseconds that a step of the start may take to notice that it is no longer wanted. */
const START_GRACE = 1_500;

/** Runs a command that starts things, and stops them at the end, the last started first. */
export function untilTheEnd(main: (lifetime: Lifetime) => Promise<void>): void {
  const cleanups: (() => Promise<unknown>)[] = [];
  let stoppingSince: number | undefined;

  const stop = async (exitCode: number): Promise<void> => {
    if (stoppingSince !== undefined) return;
    stoppingSince = performance.now();
    const stopStarted = async () => {
      for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) await cleanup().catch(console.error);
    };
    await stopStarted();
    await Promise.race([starting, sleep(START_GRACE)]);
    await stopStarted();
    process.exit(exitCode);
  };
  const started = (cleanup: () => Promise<unknown>) => {
    cleanups.push(cleanup);
    if (stoppingSince !== undefined) throw new Error('stopped');
  };

  // Ctrl-C, a signal, or the end of npm or the terminal in front of this process.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Ctrl-C arrives twice at once, from the terminal and through npm. If it comes again later, this process ends at once.
      if (stoppingSince !== undefined && performance.now() - stoppingSince > AGAIN) process.exit(1);
      void stop(0);
    });
  }
  // Nothing reads the output any more, as with `| head`: stop cleanly.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => void stop(0));
  // A signal to npm ends the shell between npm and this process, and leaves this process an orphan.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) void stop(0);
  }, 200).unref();

  const fail = (message: string) => {
    if (stoppingSince !== undefined) return;
    console.error(styleText('red', message));
    void stop(1);
  };
  const endWith = (ended: Promise<unknown>, message: string) => void ended.then(() => fail(message));
  const starting = main({ started, endWith }).catch((error: unknown) => {
    fail(describeError(error));
  });
}
