import { chooseTransport, type Operation } from './choose-transport.ts';
import { createDeadline, type Deadline, type Timeouts } from './deadline.ts';
import { DatabaseError, misuse, type TransportName, toDatabaseError } from './error.ts';
import { type Attempt, lend } from './lease.ts';
import type { Pools } from './pool.ts';
import type { Retries } from './retry.ts';
import { connectionScope, httpScope, type Scope } from './scope.ts';
import type { FindTargets, Targets } from './targets.ts';
import type { Transports } from './transport.ts';

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
  error: string | undefined;
}

interface ExecutorOptions {
  transports: Transports;
  findTargets: FindTargets;
  pools: Pools;
  timeouts: Timeouts;
  retries: Retries;
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

/** Milliseconds that a client waits longer than the server, whose answer tells what became of a statement. */
const GRACE_MS = 250;

/** Milliseconds after which a replica that did not answer is asked again. */
const REST_MS = 30_000;

export function createExecutor(options: ExecutorOptions): Executor {
  const { transports, findTargets, pools, timeouts, retries, signal: requestSignal, onQuery } = options;
  const { statementMs, operationMs } = timeouts;
  const available = Object.keys(transports) as TransportName[];
  /** Whether something may have been written through this executor that a replica does not have yet. */
  let written = false;

  /** Does an operation, and does it again where that cannot take effect twice. */
  const operate = async <T>(
    operation: Operation,
    { readOnly, writes = !readOnly, mayLag = false }: { readOnly: boolean; writes?: boolean; mayLag?: boolean },
    work: (scope: Scope, deadline: Deadline) => Promise<T>,
  ): Promise<T> => {
    const choice = chooseTransport(operation, { available });
    const transport = choice && transports[choice.transport];
    if (!transport) throw misuse(`A ${operation} needs websocket or tcp.`);
    written ||= writes;
    const started = performance.now();
    const timeLeft = () => started + operationMs - performance.now();
    let answered = false;
    let targets: Targets | undefined;
    let fromReplica = false;
    let refusal: { by: Targets; error: DatabaseError } | undefined;

    const attempt = async (deadline: Deadline): Promise<T> => {
      const found = findTargets(refusal?.by);
      targets = found instanceof Promise ? await deadline.race(found) : found;
      if (targets === refusal?.by) throw refusal.error;
      fromReplica = mayLag && !written && targets.replica !== undefined && Date.now() >= targets.replicaRestsUntil;
      const target = fromReplica ? targets.replica : targets[choice.address];
      if (!target) throw misuse(`A ${operation} needs unpooledUrl (DATABASE_URL_UNPOOLED).`);
      const exchange: Attempt['exchange'] = (flight) =>
        deadline.limit('A statement', statementMs + GRACE_MS, async () => {
          const start = performance.now();
          let rows = 0;
          let error: DatabaseError | undefined;
          try {
            const results = await flight();
            answered = true;
            rows = results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
            return results;
          } catch (thrown) {
            throw (error = toDatabaseError(thrown, transport.name, true));
          } finally {
            const ms = performance.now() - start;
            try {
              const outcome = error?.code ?? error?.kind;
              onQuery?.({ operation, transport: transport.name, roundTrips: 1, ms, rows, error: outcome });
            } catch {
              // Who looks on must not change what happened.
            }
          }
        });
      const current = { operation, readOnly, deadline, statementMs, exchange };
      if (transport.name === 'http') return work(httpScope(transport, target, current), deadline);
      return lend(pools.at(transport, target), current, (lease) => work(connectionScope(lease), deadline));
    };

    retries.earn();
    for (let failed = 0; ;) {
      const deadline = createDeadline(requestSignal);
      try {
        if (operation === 'session') return await attempt(deadline);
        return await deadline.limit(`The ${operation}`, timeLeft(), () => attempt(deadline));
      } catch (error) {
        if (!(error instanceof DatabaseError) || requestSignal?.aborted || timeLeft() < 0) throw error;
        const { kind, code, retryable } = error;
        const away = kind === 'connection' || kind === 'unavailable';
        // A replica does not answer, or cancels a read for what it replays. What a session has done cannot be done again.
        const lost = away || kind === 'serialization' || (kind === 'timeout' && !code);
        if (targets && fromReplica && lost) targets.replicaRestsUntil = Date.now() + REST_MS;
        else if (operation === 'session' && answered) throw error;
        // 42501 among them: a role that was dropped loses its privileges on connections that are open.
        else if (targets && !refusal && kind === 'auth') refusal = { by: targets, error };
        else if (!(retryable || (readOnly && away)) || !(await retries.spend(++failed))) throw error;
      } finally {
        deadline.end();
      }
    }
  };

  return {
    run(statement) {
      const writes = !/^\s*select\b/i.test(statement.text);
      return operate('one-shot', { readOnly: false, writes }, (scope) => scope.run(statement));
    },
    read: (statement) => operate('one-shot', { readOnly: true, mayLag: true }, (scope) => scope.run(statement)),
    batch: (statements, settings) =>
      operate('batch', { readOnly: settings.accessMode === 'read only' }, (scope) => scope.batch(statements, settings)),
    transaction: (settings, body) =>
      operate('transaction', { readOnly: settings.accessMode === 'read only' }, (scope) =>
        scope.transaction(settings, body),
      ),
    session: (body) => operate('session', { readOnly: false }, (scope, { race }) => race(body(scope))),
  };
}
