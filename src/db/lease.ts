import type { Operation } from './choose-transport.ts';
import type { Deadline } from './deadline.ts';
import { DatabaseError, misuse } from './error.ts';
import type { Pool } from './pool.ts';
import { discardAll } from './transaction.ts';
import type { Connection, Statement, StatementResult } from './transport.ts';

/** One try of an operation. */
export interface Attempt {
  readonly operation: Operation;
  /** Whether all of it may be done twice: it reads, and says so. */
  readonly readOnly: boolean;
  readonly deadline: Deadline;
  /** Milliseconds allowed for a statement. */
  readonly statementMs: number;
  /** Runs one exchange with the server within its limit, and reports it. */
  readonly exchange: (flight: () => Promise<StatementResult[]>) => Promise<StatementResult[]>;
}

/** A connection for one attempt: taken from its pool when the first flight needs it, of no use after the end. */
export interface Lease extends Omit<Connection, 'close'>, Attempt {
  /** Takes the connection. What fails here was never sent. */
  take(): Promise<Connection>;
}

/** Statements whose effect ends with their transaction. What others leave behind must not meet the next operation. */
const LEAVES_NOTHING =
  /^\s*(select|with|insert|update|delete|merge|begin|commit|rollback|savepoint|release|set local)\b/i;

/** Lends `work` a connection. A session's is a new one, and is closed afterwards. */
export async function lend<T>(pool: Pool, attempt: Attempt, work: (lease: Lease) => Promise<T>): Promise<T> {
  const { operation, readOnly, deadline, exchange } = attempt;
  const { signal } = deadline;
  const exclusive = operation === 'session';
  let acquiring: Promise<Connection> | undefined;
  let connection: Connection | undefined;
  let first = true;
  let clean = !exclusive;
  let ended = false;
  signal.addEventListener('abort', () => void connection?.close(signal.reason));

  const acquire = async (fresh: boolean) => {
    connection = await pool.acquire(deadline, fresh);
    connection.onNotification = (channel, payload) => lease.onNotification?.(channel, payload);
    return connection;
  };
  const sendOver = (acquired: Connection, statements: readonly Statement[]) =>
    exchange(() => {
      signal.throwIfAborted();
      return acquired.send(statements);
    });

  const lease: Lease = {
    ...attempt,
    onNotification: undefined,
    get transactionStatus() {
      return connection?.transactionStatus;
    },
    get usable() {
      return !signal.aborted && (connection?.usable ?? true);
    },

    take: () => (acquiring ??= acquire(exclusive)),

    async send(statements) {
      if (ended) throw misuse(`The ${operation} has ended.`);
      clean &&= statements.every(({ text }) => LEAVES_NOTHING.test(text));
      const acquired = await lease.take();
      const wasIdle = first && acquired.transactionStatus !== undefined;
      first = false;
      try {
        return await sendOver(acquired, statements);
      } catch (error) {
        // A connection that went stale while it was idle is replaced, where nothing can have been committed over it.
        const harmless = operation === 'transaction' || readOnly || (error instanceof DatabaseError && error.retryable);
        if (!wasIdle || acquired.usable || signal.aborted || !harmless) throw error;
        void pool.release(acquired, false);
        return sendOver(await (acquiring = acquire(true)), statements);
      }
    },
  };

  try {
    return await work(lease);
  } finally {
    if (exclusive) await discardAll(lease);
    ended = true;
    lease.onNotification = undefined;
    // Not awaited: what nobody awaits may still wait for its connection.
    acquiring?.then((acquired) => pool.release(acquired, clean)).catch(() => {});
  }
}
