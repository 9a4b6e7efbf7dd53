import type { RetryOptions, Settings } from '../options.ts';

export type Retries = ReturnType<typeof createRetries>;

/** Retries saved up in quiet times. */
const MAX_SAVED = 10;

/**
 * Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) and a budget shared by all that
 * use the same `Retries` (https://finagle.github.io/blog/2016/02/08/retry-budgets/).
 */
export function createRetries({ attempts = 3, baseMs = 50, ratio = 0.1 }: Settings<RetryOptions> = {}) {
  let saved = MAX_SAVED;

  /** To be called once per operation. */
  return () => {
    saved = Math.min(MAX_SAVED, saved + ratio);
    let failed = 0;

    /** Waits before the next try, or until `signal` aborts. False if no tries are left, or no time to wait. */
    return async (timeLeft: () => number, signal: AbortSignal): Promise<boolean> => {
      const pause = Math.random() * baseMs * 2 ** failed;
      if (++failed >= attempts || saved < 1 || pause >= timeLeft()) return false;
      saved--;
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
        setTimeout(resolve, pause);
      });
      return true;
    };
  };
}
