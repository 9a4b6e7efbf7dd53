import { DatabaseError } from '../error.ts';
import type { Settings, Timeouts } from '../options.ts';
import type { TransportName } from '../transport.ts';

/** About 23 days. A timer of 2 ** 31 ms or more fires at once, and PostgreSQL refuses such a limit. */
const MAX_MS = 2_000_000_000;

/** The defaults suit requests of under a minute, and a suspended Neon database, which wakes within a second or two. */
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

/** A signal that aborts, with a `DatabaseError`, when `parent` does or a limit passes. Call `end` when done with it. */
export function createDeadline(parent?: AbortSignal, transport?: TransportName) {
  const controller = new AbortController();
  // Typed explicitly: the type inferred with Node's types has no name, so declarations could not be emitted.
  const { signal }: { signal: AbortSignal } = controller;
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {}); // perhaps nothing is racing
  let reason: unknown;
  /** Rejects, unless `atOnce`, a moment later with the latest reason: what fails by it may know a better one. */
  const fail = (error: unknown, atOnce?: boolean) => {
    if (atOnce) aborted.reject(error); // before what fails by it
    reason = error;
    controller.abort(error);
    setTimeout(() => aborted.reject(reason));
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

    /** Settles as `promise` does, or rejects with the signal's reason if that aborts first. */
    race: <T>(promise: PromiseLike<T> | T): Promise<T> => Promise.race([promise, aborted.promise]),
  };
}
