import { DatabaseError } from '../error.ts';

/** Deadlines in milliseconds; what passes one fails with kind `timeout` and is stopped on the server. `Infinity`: none. */
export interface Timeouts {
  /**
   * Until a place in the pool is free, and then until a socket is usable: connection, TLS, authentication; over HTTP nobody
   * can tell. Also for a function that gives a URL.
   */
  connectMs: number;
  /**
   * For one exchange with the server. In transactions and batches the server itself keeps it, in place of the role's own
   * `statement_timeout`, and the client waits a little longer.
   */
  statementMs: number;
  /** For a whole one-shot, batch or transaction: waiting for a connection, every statement and every retry. */
  operationMs: number;
}

export type Deadline = ReturnType<typeof createDeadline>;

/** A signal that aborts, with a `DatabaseError`, when `parent` does or a limit passes. Call `end` when nothing needs it. */
export function createDeadline(parent?: AbortSignal) {
  const controller = new AbortController();
  const { signal } = controller;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  aborted.catch(() => {}); // nothing may race against it
  let reason: unknown;
  /** The last reason counts: what fails because of the signal says more, and needs a moment for it. */
  const fail = (error: unknown) => {
    reason = error;
    controller.abort(error);
    setTimeout(() => reject(reason));
  };
  const expire = (message: string, cause?: unknown) => fail(new DatabaseError(message, { kind: 'timeout', cause }));
  const follow = () => expire('The operation was aborted.', parent?.reason);
  parent?.addEventListener('abort', follow);
  if (parent?.aborted) follow();

  return {
    signal,
    fail,
    end: () => parent?.removeEventListener('abort', follow),

    /** Aborts unless `work` settles within `ms`, or those of them that are `left`. */
    limit: async <T>(what: string, ms: number, work: () => Promise<T>, left = ms): Promise<T> => {
      const timer = setTimeout(() => expire(`${what} took more than ${ms} ms.`), left);
      try {
        return await work();
      } finally {
        clearTimeout(timer);
      }
    },

    /** Settles as `promise` does, or rejects with the signal's reason should it abort first. */
    race: <T>(promise: Promise<T> | T): Promise<T> => Promise.race([promise, aborted]),
  };
}
