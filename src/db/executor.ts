import { chooseTransport, type Operation } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { DatabaseError, isReplicaUnusable, mayRepeat, misuse } from './error.ts';
import { type Attempt, createAttempt } from './internal/attempt.ts';
import { lend } from './internal/lease.ts';
import type { Pools } from './internal/pool.ts';
import type { Retries } from './internal/retry.ts';
import { type FindTargets, REST_MS, type Targets } from './internal/targets.ts';
import type { RequestScope, Timeouts } from './options.ts';
import { type Scope, sendOverHttp } from './transaction.ts';
import type { Statement, TransactionOptions, TransportName, Transports } from './transport.ts';

interface Resources {
  transports: Transports;
  findTargets: FindTargets;
  timeouts: Timeouts;
  retries: Retries;
}

/** Runs statements over the transport that `chooseTransport` picks. Knows nothing about drizzle. */
export interface Executor extends Scope {
  /** Runs a read that may lag. */
  read: Scope['send'];
  /** Lends a connection that keeps its state and is closed afterwards. */
  session: <T>(body: (scope: Scope) => Promise<T>) => Promise<T>;
}

/**
 * What an operation declares. `read only` may run twice; so may `lagging`, which may run on a replica, too. A `select` may
 * call a function that writes, so it does not run twice; but the replica may be read after it, as if it had written nothing.
 */
type Access = TransactionOptions['accessMode'] | 'lagging' | 'select';

export function createExecutor(
  { transports, findTargets, retries, timeouts }: Resources,
  pools: Pools,
  request: RequestScope,
): Executor {
  const { statementMs, operationMs } = timeouts;
  const available = Object.keys(transports) as TransportName[];
  /** Whether something may have been written through this executor that a replica does not have yet. */
  let written = false;

  /** Runs an operation, and retries it where it cannot take effect twice. */
  const operate = async <T>(operation: Operation, access: Access, work: (scope: Scope) => Promise<T>): Promise<T> => {
    const choice = chooseTransport(operation, { available });
    const transport = choice && transports[choice.transport];
    if (!transport) throw misuse(`A ${operation} needs websocket or tcp.`);
    const readOnly = access === 'read only' || access === 'lagging';
    written ||= !readOnly && access !== 'select';
    const isSession = operation === 'session';
    const plan = { operation, transport: choice.transport, readOnly, ...timeouts };
    const started = performance.now();
    /** Until the deadline; for a session, which has none, until it is too late to start over. */
    const timeLeft = () => started + operationMs - performance.now();
    let targets: Targets | undefined;
    let replica: ConnectionTarget | undefined;
    let refusal: { by: Targets; error: DatabaseError } | undefined;

    const tryOnce = async (attempt: Attempt): Promise<T> => {
      replica = undefined;
      attempt.signal.throwIfAborted();
      targets = await attempt.race(findTargets(refusal?.by));
      if (targets === refusal?.by) throw refusal.error;
      if (refusal) pools.retire(refusal.by);
      const mayLag = access === 'lagging' && !written;
      if (mayLag && Math.abs(Date.now() - targets.failedAt) > REST_MS) replica = targets.replica;
      const target = replica ?? targets[choice.address];
      if (!target) throw misuse(`A ${operation} needs unpooledUrl.`);

      if ('send' in transport) {
        const send: Scope['send'] = (statements, options) =>
          attempt.exchange(() => transport.send(target, statements, attempt.signal), options);
        // Only one-shots and batches go over HTTP: nobody asks this scope for a transaction.
        return work({ send: sendOverHttp(send, statementMs) } as Scope);
      }
      // Runs `work` on a `connectionScope`. Replaces a stale connection; returns it to the pool only if it holds no state.
      return lend(pools.at(transport, target), plan, attempt, work);
    };

    const waitToRetry = retries();
    for (;;) {
      const attempt = createAttempt(plan, request, timeLeft);
      try {
        if (isSession) return await tryOnce(attempt);
        return await attempt.limit(`The ${operation}`, operationMs, () => tryOnce(attempt), timeLeft());
      } catch (error) {
        if (!(error instanceof DatabaseError) || request.signal?.aborted) throw error;
        // What a session's callback has done cannot be undone; and it is not a transaction, which runs again when it loses.
        if (isSession && (attempt.hasRun || error.kind === 'serialization')) throw error;
        // A transaction's callback may throw an error from elsewhere, where it has written: no reason to retry it.
        const isOwn = isSession || attempt.failures.has(error);
        // Each branch that does not throw leads to another try: on the primary, with URLs fetched anew, or after a pause.
        if (targets && replica && isReplicaUnusable(error)) targets.failedAt = Date.now();
        // Perhaps the credentials were rotated. 42501 counts, too: the role may have been dropped in favour of another.
        else if (targets && !refusal && isOwn && error.kind === 'auth') refusal = { by: targets, error };
        else if (!mayRepeat(error, readOnly && isOwn) || !(await waitToRetry(timeLeft, attempt.signal))) throw error;
        if (timeLeft() < 0) throw error;
      } finally {
        attempt.end();
      }
    }
  };

  return {
    send(statements, options) {
      const work = (scope: Scope) => scope.send(statements, options);
      if (options) return operate('batch', options.accessMode, work);
      const isSelect = /^[\s(]*select\b/i.test((statements as [Statement])[0].text);
      return operate('one-shot', isSelect ? 'select' : undefined, work);
    },
    read: (statements) => operate('one-shot', 'lagging', (scope) => scope.send(statements)),
    transaction: (options, body) =>
      operate('transaction', options.accessMode, (scope) => scope.transaction(options, body)),
    session: (body) => operate('session', undefined, body),
  };
}
