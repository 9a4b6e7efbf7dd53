import { DatabaseError } from './error.ts';

export interface RetryOptions {
  /** Tries in all, the first among them. */
  attempts: number;
  /** The longest wait before the second try, in milliseconds; it doubles with every further one. */
  baseMs: number;
  /** Retries allowed for each operation, on average: a database in trouble is not sent a multiple of its traffic. */
  ratio: number;
}

export type Retry = ReturnType<typeof createRetry>;

/** Retries saved up in quiet times. */
const MAX_SAVED = 10;

/**
 * Retries with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) and a budget shared by
 * all that use the same `Retry` (https://finagle.github.io/blog/2016/02/08/retry-budgets/).
 */
export function createRetry({ attempts, baseMs, ratio }: RetryOptions) {
  let saved = MAX_SAVED;

  /** Runs `work` again while `isSafe` says that its failure allows it, until `signal` says that time is up. */
  return async <T>(work: () => Promise<T>, isSafe: (error: DatabaseError) => boolean, signal: AbortSignal) => {
    saved = Math.min(MAX_SAVED, saved + ratio);
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (attempt >= attempts || saved < 1 || !(error instanceof DatabaseError) || !isSafe(error)) throw error;
        saved--;
        const ms = Math.random() * baseMs * 2 ** (attempt - 1);
        if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, ms));
        if (signal.aborted) throw error;
      }
    }
  };
}
