import { chooseTransport, type Operation } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { abortable, deadline, type Timeouts } from './deadline.ts';
import { DatabaseError, type TransportName, toDatabaseError } from './error.ts';
import { createLease, type Lease } from './lease.ts';
import type { Pools } from './pool.ts';
import type { Retry } from './retry.ts';
import type { Targets, TargetSource } from './targets.ts';
import { committing, only, runBatch, runSession, runTransaction, type Scope, statementLimit } from './transaction.ts';
import type { HttpTransport, SocketTransport, Statement, StatementResult, Transports } from './transport.ts';

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
  targets: TargetSource;
  pools: Pools;
  timeouts: Timeouts;
  retry: Retry;
  signal?: AbortSignal | undefined;
  onQuery?: ((event: QueryEvent) => void) | undefined;
}

/** Runs statements over the transport that `chooseTransport` names. Knows nothing of drizzle. */
export interface Executor extends Scope {
  /** Runs a read that may lag. */
  read: (statement: Statement) => Promise<StatementResult>;
  /** Lends a connection that keeps its state, and is closed afterwards. */
  session<T>(body: (scope: Scope, lease: Lease) => Promise<T>): Promise<T>;
}

/** One attempt at an operation. */
interface Attempt {
  operation: Operation;
  transport: HttpTransport | SocketTransport;
  target: ConnectionTarget;
  signal: AbortSignal;
  /** Whether all of it may be done twice: it reads, and says so. */
  readOnly: boolean;
  /** Whether the server has answered anything. */
  answered: boolean;
}

interface Manner {
  readOnly?: boolean;
  /** Default: what `chooseTransport` says. */
  address?: keyof Targets;
}

export function createExecutor(options: ExecutorOptions): Executor {
  const { transports, targets, pools, timeouts, retry, signal: requestSignal, onQuery } = options;
  const { statementMs, operationMs } = timeouts;
  const available = (['http', 'websocket', 'tcp'] as const).filter((name) => transports[name] !== undefined);
  /** Whether something may have been written through this executor that a replica does not have yet. */
  let written = false;

  /** Runs `work`, and runs it again where that cannot take effect twice. */
  const attempt = async <T>(
    operation: Operation,
    { readOnly = false, address }: Manner,
    work: (attempt: Attempt) => Promise<T>,
  ): Promise<T> => {
    const choice = chooseTransport(operation, { available });
    const transport = choice && transports[choice.transport];
    if (!transport) {
      const provided = available.join(', ') || 'none';
      throw misuse(`No transport for a ${operation}: the entry provides ${provided}. Add websocket or tcp.`);
    }
    const limitMs = operation === 'session' ? undefined : operationMs;
    const { signal, clear } = deadline(`The ${operation}`, limitMs, requestSignal);
    let answered = false;

    const start = (to: Targets) => {
      const target = to[address ?? choice.address];
      if (!target) {
        const remedy = 'none can be derived here: set unpooledUrl (DATABASE_URL_UNPOOLED)';
        throw misuse(`A ${operation} needs a connection without a pooler, and ${remedy}.`);
      }
      const current = { operation, transport, target, signal, readOnly, answered: false };
      return work(current).finally(() => ({ answered } = current));
    };
    const once = async () => {
      const used = await abortable(signal, targets.current());
      try {
        return await start(used);
      } catch (error) {
        const refused = error instanceof DatabaseError && error.kind === 'auth' && canStartAgain();
        if (!refused || !(await targets.refresh(used))) throw error;
        return start(await targets.current());
      }
    };
    /** A session cannot begin again once it has done something. */
    const canStartAgain = () => operation !== 'session' || !answered;
    const isSafe = ({ kind, retryable }: DatabaseError) =>
      address !== 'replica' &&
      canStartAgain() &&
      (retryable || (readOnly && (kind === 'connection' || kind === 'unavailable')));
    try {
      return await retry(once, isSafe, signal);
    } finally {
      clear();
    }
  };

  /** One exchange with the server: under its deadline, and reported. */
  const exchange = async (current: Attempt, flight: (signal: AbortSignal) => Promise<StatementResult[]>) => {
    const { operation } = current;
    const transport = current.transport.name;
    const { signal, clear } = deadline('A statement', statementMs, current.signal);
    const start = performance.now();
    const report = (rows: number, error?: DatabaseError) => {
      const ms = performance.now() - start;
      try {
        onQuery?.({ operation, transport, roundTrips: 1, ms, rows, ...(error && { error: error.code ?? error.kind }) });
      } catch {
        // Who looks on must not change what happened.
      }
    };
    try {
      const results = await flight(signal);
      current.answered = true;
      report(results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0));
      return results;
    } catch (thrown) {
      const error = toDatabaseError(thrown, transport, true);
      report(0, error);
      throw error;
    } finally {
      clear();
    }
  };

  const lend = async <T>(current: Attempt, work: (lease: Lease) => Promise<T>): Promise<T> => {
    const { operation, transport, target, signal, readOnly } = current;
    if (transport.name === 'http') throw misuse('HTTP keeps no connection.');
    const lease = createLease(pools.get(transport, target), {
      signal,
      operation,
      exclusive: operation === 'session',
      resendable: operation === 'transaction' || readOnly,
      exchange: (flight) => exchange(current, flight),
    });
    try {
      return await work(lease);
    } finally {
      lease.end();
    }
  };

  const runOneShot = (statement: Statement, manner: Manner) =>
    attempt('one-shot', manner, async (current) => {
      const { transport, target } = current;
      const results =
        transport.name === 'http'
          ? await exchange(current, async (signal) => [await transport.query(target, statement, signal)])
          : await lend(current, (lease) => lease.send([statement]));
      return only(results);
    });

  return {
    run(statement) {
      written ||= !/^\s*select\b/i.test(statement.text);
      return runOneShot(statement, {});
    },

    async read(statement) {
      const { replica } = await targets.current();
      try {
        if (replica && !written && !targets.replicaRests())
          return await runOneShot(statement, { readOnly: true, address: 'replica' });
      } catch (error) {
        if (!(error instanceof DatabaseError) || !isAway(error)) throw error;
        targets.restReplica();
      }
      return runOneShot(statement, { readOnly: true });
    },

    batch(statements, transaction) {
      const readOnly = transaction.accessMode === 'read only';
      written ||= !readOnly;
      return attempt('batch', { readOnly }, async (current) => {
        const { transport, target } = current;
        if (transport.name !== 'http') {
          return lend(current, (lease) => runBatch(lease, { ...transaction, statementMs }, statements));
        }
        const limited = [statementLimit(statementMs), ...statements];
        const request = (signal: AbortSignal) => transport.batch(target, limited, transaction, signal);
        return (await committing(transaction, () => exchange(current, request))).slice(1);
      });
    },

    transaction(transaction, body) {
      const readOnly = transaction.accessMode === 'read only';
      written ||= !readOnly;
      return attempt('transaction', { readOnly }, (current) =>
        lend(current, (lease) => runTransaction(lease, { ...transaction, statementMs }, body)),
      );
    },

    session(body) {
      written = true;
      return attempt('session', {}, (current) =>
        lend(current, (lease) => runSession(lease, statementMs, (scope) => body(scope, lease))),
      );
    },
  };
}

/** Whether a server does not answer, or has cancelled a read for what it replays (SQLSTATE 40001). */
function isAway({ kind, code }: DatabaseError): boolean {
  return /^(connection|unavailable|serialization)$/.test(kind) || (kind === 'timeout' && code === undefined);
}

function misuse(message: string): DatabaseError {
  return new DatabaseError(message, { kind: 'query' });
}
