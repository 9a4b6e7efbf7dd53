import { DatabaseError } from './error.ts';

/** Deadlines in milliseconds; what passes one fails with kind `timeout` and is stopped on the server. */
export interface Timeouts {
  /** Until a socket is usable: connection, TLS, authentication. Also for a function that gives a URL. */
  connectMs: number;
  /** For one exchange with the server. Inside transactions and batches the server itself keeps it, too. */
  statementMs: number;
  /** For a whole one-shot, batch or transaction: waiting for a connection, every statement and every retry. */
  operationMs: number;
}

/** Runs `work` with a signal that aborts after `ms`, or when `parent` does, and always with a `DatabaseError`. */
export async function withDeadline<T>(
  what: string,
  ms: number | undefined,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const expire = () => controller.abort(timeout(`${what} took longer than ${ms} ms.`));
  const follow = () => {
    const cause: unknown = parent?.reason;
    controller.abort(cause instanceof DatabaseError ? cause : timeout(`${what} was aborted.`, cause));
  };
  const timer = ms === undefined ? undefined : setTimeout(expire, ms);
  parent?.addEventListener('abort', follow);
  if (parent?.aborted) follow();
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    parent?.removeEventListener('abort', follow);
  }
}

/** Settles as `promise` does, or rejects with the signal's reason should it abort first. */
export async function abortable<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  // What fails because of the signal says more, and needs a moment for it.
  const abortLater = () => setTimeout(abort);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abortLater);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abortLater);
  }
}

function timeout(message: string, cause?: unknown): DatabaseError {
  return new DatabaseError(message, { kind: 'timeout', cause });
}
