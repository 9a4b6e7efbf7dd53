import { DatabaseError, type TransportName } from '../error.ts';
import type { Settings, Timeouts } from '../options.ts';

/** Some 23 days. Timers that are to wait 2 ** 31 ms or more end at once, and PostgreSQL refuses such a limit. */
const MAX_MS = 2_000_000_000;

/** By default for a suspended Neon database, which wakes within a second or two, and a request that lasts no minute. */
export function settleTimeouts({
  connectMs = 10_000,
  statementMs = 30_000,
  operationMs = 60_000,
}: Settings<Timeouts> = {}): Timeouts {
  return {
    connectMs: Math.min(connectMs, MAX_MS),
    statementMs: Math.min(statementMs, MAX_MS),
    operationMs: Math.min(operationMs, MAX_MS),
  };
}

/** A signal that aborts, with a `DatabaseError`, when `parent` does or a limit passes. Call `end` when nothing needs it. */
export function createDeadline(parent?: AbortSignal, transport?: TransportName) {
  const controller = new AbortController();
  // Typed by name: the type that Node's types infer has none, and declarations could not be emitted.
  const { signal }: { signal: AbortSignal } = controller;
  let losing: PromiseWithResolvers<never> | undefined;
  let reason: unknown;
  /** Rejects a moment later, with the last reason: what fails because of the signal may know a better one. */
  const fail = (error: unknown) => {
    reason = error;
    controller.abort(error);
    setTimeout(() => losing?.reject(reason));
  };
  const expire = (message: string, cause?: unknown) =>
    fail(new DatabaseError(message, { kind: 'timeout', transport, cause }));
  const follow = () => expire('Aborted.', parent?.reason);
  parent?.addEventListener('abort', follow);
  if (parent?.aborted) follow();

  return {
    signal,
    fail,
    end: () => parent?.removeEventListener('abort', follow),

    /** Aborts unless `work` settles within `left` milliseconds; the message says `ms`. */
    limit: async <T>(what: string, ms: number, work: () => Promise<T>, left = ms): Promise<T> => {
      const timer = setTimeout(() => expire(`${what} took more than ${ms} ms.`), left);
      try {
        return await work();
      } finally {
        clearTimeout(timer);
      }
    },

    /** Settles as `promise` does, or rejects with the signal's reason should it abort first. */
    race: async <T>(promise: PromiseLike<T> | T): Promise<T> => {
      if (!(promise as PromiseLike<T>).then) return promise;
      losing ??= Promise.withResolvers<never>();
      if (signal.aborted) losing.reject(reason);
      return Promise.race([promise, losing.promise]);
    },
  };
}
