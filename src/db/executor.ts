import { chooseTransport, type Operation } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { abortable, type Timeouts, withDeadline } from './deadline.ts';
import { DatabaseError, misuse, type TransportName, toDatabaseError } from './error.ts';
import { type Attempt, lend } from './lease.ts';
import type { Pools } from './pool.ts';
import type { Retry } from './retry.ts';
import type { FindTargets, Targets } from './targets.ts';
import { connectionScope, httpScope, type Scope } from './scope.ts';
import type { StatementResult, Transports } from './transport.ts';

/** One exchange with the database, for logs and metrics. Holds no SQL and no parameters. */
export interface QueryEvent {
  operation: Operation;
  transport: TransportName;
  /** Waits for the server at the PostgreSQL layer. */
  roundTrips: number;
  /** Milliseconds. */
  ms: number;
  /** Rows returned or affected. */
  rows: number;
  /** Why it failed: the SQLSTATE, or the error's kind where the server gave none. */
  error?: string;
}

interface ExecutorOptions {
  transports: Transports;
  findTargets: FindTargets;
  pools: Pools;
  timeouts: Timeouts;
  retry: Retry;
  signal?: AbortSignal | undefined;
  onQuery?: ((event: QueryEvent) => void) | undefined;
}

/** Runs statements over the transport that `chooseTransport` names. Knows nothing of drizzle. */
export interface Executor extends Scope {
  /** Runs a read that may lag. */
  read: Scope['run'];
  /** Lends a connection that keeps its state, and is closed afterwards. */
  session: <T>(body: (scope: Scope) => Promise<T>) => Promise<T>;
}

/** Milliseconds after which a replica that did not answer is asked again. */
const REST_MS = 30_000;

export function createExecutor(options: ExecutorOptions): Executor {
  const { transports, findTargets, pools, timeouts, retry, signal: requestSignal, onQuery } = options;
  const { statementMs, operationMs } = timeouts;
  const available = (['http', 'websocket', 'tcp'] as const).filter((name) => transports[name] !== undefined);
  /** Whether something may have been written through this executor that a replica does not have yet. */
  let written = false;

  /** Does an operation, and does it again where that cannot take effect twice. */
  const operate = async <T>(
    operation: Operation,
    { readOnly, mayLag = false }: { readOnly: boolean; mayLag?: boolean },
    work: (scope: Scope, signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    const choice = chooseTransport(operation, { available });
    const transport = choice && transports[choice.transport];
    if (!transport) {
      const provided = available.join(', ') || 'none';
      throw misuse(`No transport for a ${operation}: the entry provides ${provided}. Add websocket or tcp.`);
    }
    let answered = false;
    /** A session that has done something cannot. */
    const canStartAgain = () => operation !== 'session' || !answered;

    const attemptAt = async (target: ConnectionTarget | undefined, signal: AbortSignal): Promise<T> => {
      if (!target) {
        const remedy = 'none can be derived here: set unpooledUrl (DATABASE_URL_UNPOOLED)';
        throw misuse(`A ${operation} needs a connection without a pooler, and ${remedy}.`);
      }
      const exchange: Attempt['exchange'] = async (flight) => {
        const results = await observe(operation, transport.name, signal, flight);
        answered = true;
        return results;
      };
      const current = { operation, readOnly, signal, statementMs, exchange };
      if (transport.name === 'http') return work(httpScope(transport, target, current), signal);
      return lend(pools.at(transport, target), current, (lease) => work(connectionScope(lease), signal));
    };

    const attempt = async (targets: Targets, signal: AbortSignal): Promise<T> => {
      if (mayLag && targets.replica && !written && Date.now() >= targets.replicaRestsUntil) {
        try {
          return await attemptAt(targets.replica, signal);
        } catch (error) {
          if (requestSignal?.aborted || !isAway(error)) throw error;
          targets.replicaRestsUntil = Date.now() + REST_MS;
        }
      }
      return attemptAt(targets[choice.address], signal);
    };

    const attemptOrRenew = async (signal: AbortSignal): Promise<T> => {
      const targets = await abortable(signal, findTargets());
      try {
        return await attempt(targets, signal);
      } catch (error) {
        if (!(error instanceof DatabaseError) || error.kind !== 'auth' || !canStartAgain()) throw error;
        const renewed = await abortable(signal, findTargets(targets));
        if (renewed === targets) throw error;
        return attempt(renewed, signal);
      }
    };

    const isSafe = ({ kind, retryable }: DatabaseError) =>
      canStartAgain() && (retryable || (readOnly && (kind === 'connection' || kind === 'unavailable')));
    const limitMs = operation === 'session' ? undefined : operationMs;
    return withDeadline(`The ${operation}`, limitMs, requestSignal, (signal) =>
      retry(() => attemptOrRenew(signal), isSafe, signal),
    );
  };

  /** Runs one exchange with the server under its deadline, and reports it. */
  const observe = (
    operation: Operation,
    transport: TransportName,
    parent: AbortSignal,
    flight: (signal: AbortSignal) => Promise<StatementResult[]>,
  ) =>
    withDeadline('A statement', statementMs, parent, async (signal) => {
      const start = performance.now();
      const report = (outcome: Pick<QueryEvent, 'rows' | 'error'>) => {
        try {
          onQuery?.({ operation, transport, roundTrips: 1, ms: performance.now() - start, ...outcome });
        } catch {
          // Who looks on must not change what happened.
        }
      };
      try {
        const results = await flight(signal);
        report({ rows: results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0) });
        return results;
      } catch (thrown) {
        const error = toDatabaseError(thrown, transport, true);
        report({ rows: 0, error: error.code ?? error.kind });
        throw error;
      }
    });

  return {
    run(statement) {
      written ||= !/^\s*select\b/i.test(statement.text);
      return operate('one-shot', { readOnly: false }, (scope) => scope.run(statement));
    },

    read: (statement) => operate('one-shot', { readOnly: true, mayLag: true }, (scope) => scope.run(statement)),

    batch(statements, settings) {
      const readOnly = settings.accessMode === 'read only';
      written ||= !readOnly;
      return operate('batch', { readOnly }, (scope) => scope.batch(statements, settings));
    },

    transaction(settings, body) {
      const readOnly = settings.accessMode === 'read only';
      written ||= !readOnly;
      return operate('transaction', { readOnly }, (scope) => scope.transaction(settings, body));
    },

    session(body) {
      written = true;
      return operate('session', { readOnly: false }, (scope, signal) => abortable(signal, body(scope)));
    },
  };
}

/** Whether a server does not answer, or has cancelled a read for what it replays (SQLSTATE 40001). */
function isAway(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false;
  const { kind, code } = error;
  return /^(connection|unavailable|serialization)$/.test(kind) || (kind === 'timeout' && code === undefined);
}
