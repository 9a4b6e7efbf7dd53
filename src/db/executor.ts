import { chooseTransport, type Operation } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { createDeadline, type Deadline } from './internal/deadline.ts';
import { DatabaseError, misuse, type TransportName, toDatabaseError } from './error.ts';
import { lend } from './internal/lease.ts';
import type { Pools } from './internal/pool.ts';
import { isLost, mayRepeat, type Retries } from './internal/retry.ts';
import type { FindTargets, Targets } from './internal/targets.ts';
import type { RequestScope, Timeouts } from './options.ts';
import { commitFailure, type Scope, sendRequests } from './transaction.ts';
import type { StatementResult, TransactionOptions, Transports } from './transport.ts';

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
 * What an operation says of itself. `read only` may be done twice, `lagging` on a replica, too. A `select` may write by a
 * function, and is not done twice; but what it writes is not what the next read is about.
 */
type Access = TransactionOptions['accessMode'] | 'lagging' | 'select';

/** Milliseconds that a client waits longer than the server, whose answer tells what became of a statement. */
const GRACE_MS = 1_000;

/** Milliseconds after which a replica that did not answer is asked again. */
const REST_MS = 30_000;

export function createExecutor(
  { transports, findTargets, retries, timeouts }: Resources,
  pools: Pools,
  { signal: requestSignal, onQuery }: RequestScope,
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
    const readOnly = access === 'lagging' || access === 'read only';
    written ||= !readOnly && access !== 'select';
    const started = performance.now();
    const timeLeft = () => started + operationMs - performance.now();
    let answered = false;
    let targets: Targets | undefined;
    let replica: ConnectionTarget | undefined;
    let refusal: { by: Targets; error: DatabaseError } | undefined;

    const tryOnce = async (deadline: Deadline): Promise<T> => {
      replica = undefined;
      deadline.signal.throwIfAborted();
      targets = await deadline.race(findTargets(refusal?.by));
      if (targets === refusal?.by) throw refusal.error;
      replica =
        access === 'lagging' && !written && Date.now() >= targets.replicaRestsUntil ? targets.replica : undefined;
      const target = replica ?? targets[choice.address];
      if (!target) throw misuse(`A ${operation} needs unpooledUrl (DATABASE_URL_UNPOOLED).`);

      const exchange = async (flight: () => Promise<StatementResult[]>, commits?: TransactionOptions) => {
        deadline.signal.throwIfAborted(); // before what follows: what was not sent has not committed
        const start = performance.now();
        const report = (rows: number, error?: string) => {
          const ms = performance.now() - start;
          const event = { operation, transport: choice.transport, roundTrips: 1, ms, rows, error };
          // Who looks on must not change what happened: neither by throwing nor by rejecting.
          (async () => onQuery?.(event))().catch(() => {});
        };
        try {
          const results = await deadline.limit('A statement', statementMs, flight, statementMs + GRACE_MS);
          answered = true;
          report(results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0));
          return results;
        } catch (thrown) {
          const error = toDatabaseError(thrown, choice.transport, true);
          report(0, error.code ?? error.kind);
          if (!commits) throw error;
          const failure = commitFailure(error, commits);
          if (failure !== error) deadline.fail(failure); // a session ends with this, whatever its callback still does
          throw failure;
        }
      };
      const attempt = { operation, readOnly, deadline, ...timeouts, exchange };
      if ('send' in transport) {
        const request: Scope['send'] = (statements, settings) =>
          exchange(() => transport.send(target, statements, deadline.signal), settings);
        // The table gives HTTP one-shots and batches: nobody asks for a transaction here.
        return work({ send: sendRequests(request, statementMs) } as Scope);
      }
      // Runs it on a `connectionScope`; replaces a connection that went stale, and takes it back if nothing is left on it.
      return lend(pools.at(transport, target), attempt, work);
    };

    const waitToRetry = retries();
    for (;;) {
      const deadline = createDeadline(requestSignal);
      try {
        if (operation === 'session') return await tryOnce(deadline);
        return await deadline.limit(`The ${operation}`, operationMs, () => tryOnce(deadline), timeLeft());
      } catch (error) {
        if (!(error instanceof DatabaseError) || requestSignal?.aborted || timeLeft() < 0) throw error;
        // What does not throw here is tried again.
        if (operation === 'session' && answered) throw error; // what its callback has done, it has done
        if (targets && replica && isLost(error)) targets.replicaRestsUntil = Date.now() + REST_MS;
        // Rotated, perhaps: the URL is asked for once more. 42501 among them, for a role that was dropped meanwhile.
        else if (targets && !refusal && error.kind === 'auth') refusal = { by: targets, error };
        else if (!mayRepeat(error, readOnly) || !(await waitToRetry(timeLeft()))) throw error;
      } finally {
        deadline.end();
      }
    }
  };

  return {
    send(statements, settings) {
      const work = (scope: Scope) => scope.send(statements, settings);
      if (settings) return operate('batch', settings.accessMode, work);
      return operate('one-shot', /^\s*select\b/i.test(statements[0]?.text ?? '') ? 'select' : undefined, work);
    },
    read: (statements) => operate('one-shot', 'lagging', (scope) => scope.send(statements)),
    transaction: (settings, body) =>
      operate('transaction', settings.accessMode, (scope) => scope.transaction(settings, body)),
    session: (body) => operate('session', undefined, body),
  };
}
