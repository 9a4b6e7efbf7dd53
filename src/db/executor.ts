import { chooseTransport, type Operation } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { type Attempt, createAttempt } from './internal/attempt.ts';
import { DatabaseError, isLost, mayRepeat, misuse, type TransportName } from './error.ts';
import { lend } from './internal/lease.ts';
import type { Pools } from './internal/pool.ts';
import type { Retries } from './internal/retry.ts';
import type { FindTargets, Targets } from './internal/targets.ts';
import type { RequestScope, Timeouts } from './options.ts';
import { type Scope, sendRequests } from './transaction.ts';
import type { TransactionOptions, Transports } from './transport.ts';

interface Resources {
  transports: Transports;
  findTargets: FindTargets;
  timeouts: Timeouts;
  retries: Retries;
}

/** Runs statements over the transport that `chooseTransport` names. Knows nothing of drizzle. */
export interface Executor extends Scope {
  /** Runs a read that may lag. */
  read: Scope['send'];
  /** Lends a connection that keeps its state, and is closed afterwards. */
  session: <T>(body: (scope: Scope) => Promise<T>) => Promise<T>;
}

/**
 * What an operation says of itself. `read only` may be done twice; `lagging` as well, and on a replica. A `select` may call
 * a function that writes, so it is not done twice; but the replica may be read after it, as if it had written nothing.
 */
type Access = TransactionOptions['accessMode'] | 'lagging' | 'select';

/** Milliseconds after which a replica that did not answer is asked again. */
const REST_MS = 30_000;

export function createExecutor(
  { transports, findTargets, retries, timeouts }: Resources,
  pools: Pools,
  request: RequestScope,
): Executor {
  const { statementMs, operationMs } = timeouts;
  const available = Object.keys(transports) as TransportName[];
  /** Whether something may have been written through this executor that a replica does not have yet. */
  let written = false;

  /** Does an operation, and does it again where that cannot take effect twice. */
  const operate = async <T>(operation: Operation, access: Access, work: (scope: Scope) => Promise<T>): Promise<T> => {
    const choice = chooseTransport(operation, { available });
    const transport = choice && transports[choice.transport];
    if (!transport) throw misuse(`A ${operation} needs websocket or tcp.`);
    const readOnly = access === 'read only' || access === 'lagging';
    written ||= !readOnly && access !== 'select';
    const plan = { operation, transport: choice.transport, readOnly, ...timeouts };
    const started = performance.now();
    /** Until the deadline; for a session, which has none, until it is too late to begin again. */
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
      if (access === 'lagging' && !written && started >= targets.restsUntil) replica = targets.replica;
      const target = replica ?? targets[choice.address];
      if (!target) throw misuse(`A ${operation} needs unpooledUrl.`);

      if ('send' in transport) {
        const send: Scope['send'] = (statements, settings) =>
          attempt.exchange(() => transport.send(target, statements, attempt.signal), settings);
        // The table gives HTTP one-shots and batches: nobody asks for a transaction here.
        return work({ send: sendRequests(send, statementMs) } as Scope);
      }
      // Runs `work` on a `connectionScope`. Replaces a stale connection; returns to the pool one on which nothing is left.
      return lend(pools.at(transport, target), plan, attempt, work);
    };

    const waitToRetry = retries();
    for (;;) {
      const attempt = createAttempt(plan, request, timeLeft);
      try {
        if (operation === 'session') return await tryOnce(attempt);
        return await attempt.limit(`The ${operation}`, operationMs, () => tryOnce(attempt), timeLeft());
      } catch (error) {
        if (!(error instanceof DatabaseError) || request.signal?.aborted || timeLeft() < 0) throw error;
        // A callback may throw what failed elsewhere: no reason to do again what it does, and has written there.
        const isOwn = operation === 'session' || attempt.failures.has(error);
        // Whichever branch does not throw leads to another try.
        if (operation === 'session' && attempt.answered) throw error; // what its callback has done, it has done
        if (targets && replica && isLost(error)) targets.restsUntil = performance.now() + REST_MS;
        // Rotated, perhaps: the URL is asked for once more. 42501 among them, for a role that was dropped meanwhile.
        else if (targets && !refusal && isOwn && error.kind === 'auth') refusal = { by: targets, error };
        else if (!mayRepeat(error, readOnly && isOwn) || !(await waitToRetry(timeLeft, attempt.signal))) throw error;
      } finally {
        attempt.end();
      }
    }
  };

  return {
    send(statements, settings) {
      const work = (scope: Scope) => scope.send(statements, settings);
      if (settings) return operate('batch', settings.accessMode, work);
      return operate('one-shot', /^[\s(]*select\b/i.test(statements[0]?.text ?? '') ? 'select' : undefined, work);
    },
    read: (statements) => operate('one-shot', 'lagging', (scope) => scope.send(statements)),
    transaction: (settings, body) =>
      operate('transaction', settings.accessMode, (scope) => scope.transaction(settings, body)),
    session: (body) => operate('session', undefined, body),
  };
}
