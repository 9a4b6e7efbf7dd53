import { chooseTransport, type Operation, type TransportChoice } from './choose-transport.ts';
import type { ConnectionTarget } from './connection-string.ts';
import { DatabaseError, type TransportName, toDatabaseError } from './error.ts';
import type { Pools } from './pool.ts';
import { command, rollBack, runBatch } from './transaction.ts';
import type { Connection, Statement, StatementResult, Timeouts, TransactionOptions, Transports } from './transport.ts';

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
  /** Where each kind of address leads. */
  targets: { pooled: ConnectionTarget; direct: ConnectionTarget | undefined };
  pools: Pools;
  timeouts: Timeouts;
  onQuery?: ((event: QueryEvent) => void) | undefined;
}

/** Runs statements over the transport that `chooseTransport` names. Knows nothing of drizzle. */
export interface Executor {
  oneShot: (statement: Statement) => Promise<StatementResult>;
  batch(statements: readonly Statement[], options: TransactionOptions): Promise<StatementResult[]>;
  /** Lends a connection for a transaction or a session. */
  withConnection<T>(operation: 'transaction' | 'session', work: (connection: Connection) => Promise<T>): Promise<T>;
}

export function createExecutor({ transports, targets, pools, timeouts, onQuery }: ExecutorOptions): Executor {
  const available = (['http', 'websocket', 'tcp'] as const).filter((name) => transports[name] !== undefined);

  const httpDeadline = () => AbortSignal.timeout(timeouts.httpMs);

  const choose = (operation: Operation): TransportChoice => {
    const choice = chooseTransport(operation, { available });
    if (choice) return choice;
    throw new DatabaseError(
      `No transport for a ${operation}: the entry provides ${available.join(', ') || 'none'}. Add websocket or tcp.`,
      { kind: 'query' },
    );
  };

  const observe = async (operation: Operation, transport: TransportName, flight: () => Promise<StatementResult[]>) => {
    const start = performance.now();
    const report = (rows: number, error?: DatabaseError) => {
      const ms = performance.now() - start;
      const failure = error && { error: error.code ?? error.kind };
      try {
        onQuery?.({ operation, transport, roundTrips: 1, ms, rows, ...failure });
      } catch {
        // Who looks on must not change what happened.
      }
    };
    let results: StatementResult[];
    try {
      results = await flight();
    } catch (thrown) {
      const error = toDatabaseError(thrown, transport, true);
      report(0, error);
      throw error;
    }
    report(results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0));
    return results;
  };

  /** A connection for one operation: watched while it lasts, of no use afterwards, when others have the connection. */
  const lease = (connection: Connection, operation: Operation, transport: TransportName) => {
    const endings: (() => void)[] = [];
    let ended = false;
    const leased: Connection = {
      async send(statements) {
        if (ended) throw new DatabaseError(`The ${operation} has ended.`, { kind: 'query', transport });
        return observe(operation, transport, () => connection.send(statements));
      },
      onNotification(listener) {
        const end = connection.onNotification(listener);
        endings.push(end);
        return end;
      },
      close: () => connection.close(),
      get transactionStatus() {
        return connection.transactionStatus;
      },
      get usable() {
        return connection.usable;
      },
    };
    const end = () => {
      ended = true;
      for (const ending of endings) ending();
    };
    return { leased, end };
  };

  const overSocket = <T>(
    operation: Operation,
    { transport, address }: TransportChoice,
    work: (connection: Connection) => Promise<T>,
  ): Promise<T> => {
    const opener = transport === 'http' ? undefined : transports[transport];
    if (!opener) throw new Error(`${transport} opens no connections`);
    const target = targets[address];
    if (!target) {
      throw new DatabaseError(
        'A session needs a connection without a pooler, and none can be derived here: set unpooledUrl (DATABASE_URL_UNPOOLED).',
        { kind: 'query', transport },
      );
    }
    return pools.get(opener, target).use(async (connection) => {
      const { leased, end } = lease(connection, operation, transport);
      try {
        return await work(leased);
      } finally {
        if (operation === 'session') await resetSession(leased);
        end();
      }
    });
  };

  return {
    async oneShot(statement) {
      const choice = choose('one-shot');
      const { http } = transports;
      const [result] =
        choice.transport === 'http' && http
          ? await observe('one-shot', 'http', async () => [await http.query(targets.pooled, statement, httpDeadline())])
          : await overSocket('one-shot', choice, (connection) => connection.send([statement]));
      if (!result) throw new Error('a statement without a result');
      return result;
    },

    async batch(statements, options) {
      const choice = choose('batch');
      const { http } = transports;
      return choice.transport === 'http' && http
        ? observe('batch', 'http', () => http.batch(targets.pooled, statements, options, httpDeadline()))
        : overSocket('batch', choice, (connection) => runBatch(connection, statements, options));
    },

    withConnection: async (operation, work) => overSocket(operation, choose(operation), work),
  };
}

/** Forgets what a session left behind, before its connection is used again. */
async function resetSession(connection: Connection): Promise<void> {
  await rollBack(connection);
  if (connection.usable) await connection.send([command('discard all')]).catch(() => connection.close());
}
