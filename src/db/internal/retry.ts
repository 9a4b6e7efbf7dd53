import type { DatabaseError } from '../error.ts';
import type { RetryOptions } from '../options.ts';

/** Whether what was asked for did not come about for want of a server, and may yet. */
const isAway = ({ kind }: DatabaseError) => kind === 'connection' || kind === 'unavailable';

/** Whether it may be sent again: it cannot have taken effect, or has none. */
export function mayRepeat(error: DatabaseError, readOnly: boolean): boolean {
  return error.retryable || (readOnly && isAway(error));
}

/** Whether a replica is of no use for now: it does not answer, or cancels a read to replay what the primary did. */
export function isLost(error: DatabaseError): boolean {
  return isAway(error) || error.kind === 'serialization' || (error.kind === 'timeout' && !error.code);
}

export type Retries = ReturnType<typeof createRetries>;

/** Retries saved up in quiet times. */
const MAX_SAVED = 10;

/**
 * Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) and a budget shared by all that
 * use the same `Retries` (https://finagle.github.io/blog/2016/02/08/retry-budgets/).
 */
export function createRetries({ attempts = 3, baseMs = 50, ratio = 0.1 }: Partial<RetryOptions> = {}) {
  let saved = MAX_SAVED;

  /** To be called once for each operation. */
  return () => {
    saved = Math.min(MAX_SAVED, saved + ratio);
    let failed = 0;

    /** Waits before the next try. False, at once, when there is none to spend, or no time for it. */
    return async (timeLeft: number): Promise<boolean> => {
      const pause = Math.random() * baseMs * 2 ** failed;
      if (++failed >= attempts || saved < 1 || pause >= timeLeft) return false;
      saved--;
      await new Promise((resolve) => setTimeout(resolve, pause));
      return true;
    };
  };
}
