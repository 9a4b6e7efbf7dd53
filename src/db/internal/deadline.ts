import { DatabaseError } from '../error.ts';
import type { Settings, Timeouts } from '../options.ts';
import type { TransportName } from '../transport.ts';

/** Some 23 days. Timers that are to wait 2 ** 31 ms or more end at once, and PostgreSQL refuses such a limit. */
const MAX_MS = 2_000_000_000;

/** The defaults suit a Neon database that is suspended, and wakes within a second or two, and requests of under a minute. */
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
  let aborted: PromiseWithResolvers<never> | undefined;
  let reason: unknown;
  /** Rejects a moment later, with the last reason: what fails because of the signal may know a better one. */
  const fail = (error: unknown) => {
    reason = error;
    controller.abort(error);
    setTimeout(() => aborted?.reject(reason));
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
      aborted ??= Promise.withResolvers<never>();
      if (signal.aborted) aborted.reject(reason);
      return Promise.race([promise, aborted.promise]);
    },
  };
}
