import { chooseTransport, type Operation } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { abortable, deadline, type Timeouts } from './deadline.ts';
import { DatabaseError, type TransportName, toDatabaseError } from './error.ts';
import { createLease, type Lease } from './lease.ts';
import type { Pools } from './pool.ts';
import type { Retry } from './retry.ts';
import type { Targets, TargetSource } from './targets.ts';
import { committing, only, runBatch, runSession, runTransaction, type Scope, statementLimit } from './transaction.ts';
import type { HttpTransport, Statement, StatementResult, Transports } from './transport.ts';

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

/** How an operation is done over each kind of transport. */
interface Work<T> {
  operation: Operation;
  /** All of it may be done twice: it reads, and says so. */
  readOnly?: boolean;
  /** Default: what `chooseTransport` says. */
  address?: keyof Targets;
  http?: (http: HttpTransport, target: ConnectionTarget, signal: AbortSignal) => Promise<T & StatementResult[]>;
  socket: (lease: Lease) => Promise<T>;
}

export function createExecutor(options: ExecutorOptions): Executor {
  const { transports, targets, pools, retry, signal: requestSignal, onQuery } = options;
  const { statementMs, operationMs } = options.timeouts;
  const available = (['http', 'websocket', 'tcp'] as const).filter((name) => transports[name] !== undefined);
  /** Whether something may have been written through this executor that a replica does not have yet. */
  let written = false;

  const perform = async <T>({ operation, readOnly = false, address, http, socket }: Work<T>): Promise<T> => {
    const choice = chooseTransport(operation, { available });
    const transport = choice && transports[choice.transport];
    if (!transport) {
      const provided = available.join(', ') || 'none';
      throw misuse(`No transport for a ${operation}: the entry provides ${provided}. Add websocket or tcp.`);
    }
    const isSession = operation === 'session';
    const { signal, clear } = deadline(`The ${operation}`, isSession ? undefined : operationMs, requestSignal);
    let answered = false;

    /** One exchange with the server: under its deadline, and reported. */
    const exchange = async <R extends StatementResult[]>(flight: (signal: AbortSignal) => Promise<R>): Promise<R> => {
      const limit = deadline('A statement', statementMs, signal);
      const start = performance.now();
      const report = (rows: number, failure?: { error: string }) => {
        try {
          const ms = performance.now() - start;
          onQuery?.({ operation, transport: transport.name, roundTrips: 1, ms, rows, ...failure });
        } catch {
          // Who looks on must not change what happened.
        }
      };
      try {
        const results = await flight(limit.signal);
        answered = true;
        report(results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0));
        return results;
      } catch (thrown) {
        const error = toDatabaseError(thrown, transport.name, true);
        report(0, { error: error.code ?? error.kind });
        throw error;
      } finally {
        limit.clear();
      }
    };

    const start = async (to: Targets): Promise<T> => {
      const target = to[address ?? choice.address];
      if (!target) {
        const remedy = 'none can be derived here: set unpooledUrl (DATABASE_URL_UNPOOLED)';
        throw misuse(`A ${operation} needs a connection without a pooler, and ${remedy}.`);
      }
      if (transport.name === 'http') {
        if (!http) throw misuse(`A ${operation} needs a connection.`);
        return exchange((limit) => http(transport, target, limit));
      }
      const resendable = operation === 'transaction' || readOnly;
      const lease = createLease(pools.get(transport, target), { signal, operation, resendable, exchange });
      return socket(lease).finally(() => lease.end());
    };

    /** A session cannot begin again once it has done something. */
    const canStartAgain = () => !isSession || !answered;
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
    const isSafe = ({ kind, retryable }: DatabaseError) => {
      const readAgain = readOnly && (kind === 'connection' || kind === 'unavailable');
      return address !== 'replica' && canStartAgain() && (retryable || readAgain);
    };
    return retry(once, isSafe, signal).finally(clear);
  };

  const runOneShot = (statement: Statement, manner: Pick<Work<unknown>, 'readOnly' | 'address'> = {}) =>
    perform<StatementResult[]>({
      ...manner,
      operation: 'one-shot',
      http: async (http, target, signal) => [await http.query(target, statement, signal)],
      socket: (lease) => lease.send([statement]),
    }).then(only);

  return {
    run(statement) {
      written ||= !/^\s*select\b/i.test(statement.text);
      return runOneShot(statement);
    },

    async read(statement) {
      const { replica } = await targets.current();
      if (replica && !written && !targets.replicaRests()) {
        try {
          return await runOneShot(statement, { readOnly: true, address: 'replica' });
        } catch (error) {
          if (!(error instanceof DatabaseError) || !isAway(error)) throw error;
          targets.restReplica();
        }
      }
      return runOneShot(statement, { readOnly: true });
    },

    batch(statements, settings) {
      const readOnly = settings.accessMode === 'read only';
      written ||= !readOnly;
      const limited = [statementLimit(statementMs), ...statements];
      return perform<StatementResult[]>({
        operation: 'batch',
        readOnly,
        http: async (http, target, signal) =>
          (await committing(settings, () => http.batch(target, limited, settings, signal))).slice(1),
        socket: (lease) => runBatch(lease, { ...settings, statementMs }, statements),
      });
    },

    transaction(settings, body) {
      const readOnly = settings.accessMode === 'read only';
      written ||= !readOnly;
      const socket = (lease: Lease) => runTransaction(lease, { ...settings, statementMs }, body);
      return perform({ operation: 'transaction', readOnly, socket });
    },

    session(body) {
      written = true;
      const socket = (lease: Lease) => runSession(lease, statementMs, (scope) => body(scope, lease));
      return perform({ operation: 'session', socket });
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
