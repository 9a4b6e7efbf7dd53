import { DatabaseError } from './error.ts';

/** Deadlines in milliseconds; what passes one fails with kind `timeout` and is stopped on the server. */
export interface Timeouts {
  /** Until a socket is usable: connection, TLS, authentication. */
  connectMs: number;
  /** For one exchange with the server. Inside transactions and batches the server itself keeps it, too. */
  statementMs: number;
  /** For a whole one-shot, batch or transaction: waiting for a connection, every statement and every retry. */
  operationMs: number;
}

/**
 * A signal that aborts after `ms` (undefined: never), or when `parent` does, and always with a `DatabaseError`.
 * @returns the signal, and what to call when the work is done
 */
export function deadline(what: string, ms: number | undefined, parent: AbortSignal | undefined) {
  const controller = new AbortController();
  const expire = () => controller.abort(timeout(`${what} took longer than ${ms} ms.`));
  const follow = () => {
    const cause: unknown = parent?.reason;
    controller.abort(cause instanceof DatabaseError ? cause : timeout(`${what} was aborted.`, cause));
  };
  const timer = ms === undefined ? undefined : setTimeout(expire, ms);
  if (parent?.aborted) follow();
  parent?.addEventListener('abort', follow);
  const clear = () => {
    clearTimeout(timer);
    parent?.removeEventListener('abort', follow);
  };
  return { signal: controller.signal, clear };
}

/** Settles as `promise` does, or rejects with the signal's reason should it abort first. */
export async function abortable<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function timeout(message: string, cause?: unknown): DatabaseError {
  return new DatabaseError(message, { kind: 'timeout', cause });
}
