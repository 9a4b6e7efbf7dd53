import type { Operation } from './choose-transport.ts';
import { DatabaseError, misuse } from './error.ts';
import type { Pool } from './pool.ts';
import { discardAll } from './transaction.ts';
import type { Connection, Statement, StatementResult } from './transport.ts';

/** A connection for one operation: taken from its pool when the first flight needs it, of no use after the end. */
export interface Lease extends Omit<Connection, 'send' | 'close'>, Attempt {
  send: (statements: readonly Statement[]) => Promise<StatementResult[]>;
}

/** One try of an operation. */
export interface Attempt {
  readonly operation: Operation;
  /** Whether all of it may be done twice: it reads, and says so. */
  readonly readOnly: boolean;
  /** Aborts when the operation has to stop. */
  readonly signal: AbortSignal;
  /** Milliseconds allowed for a statement. */
  readonly statementMs: number;
  /** Runs one exchange with the server under its deadline, and reports it. */
  readonly exchange: (flight: (signal: AbortSignal) => Promise<StatementResult[]>) => Promise<StatementResult[]>;
}

/** Statements whose effect ends with their transaction. What others leave behind must not meet the next operation. */
const LEAVES_NOTHING =
  /^\s*(select|with|insert|update|delete|merge|values|begin|commit|rollback|savepoint|release|fetch|lock|show|explain|set\s+(local|transaction|constraints))\b/i;

/** Lends `work` a connection. A session's is a new one, and is closed afterwards. */
export async function lend<T>(pool: Pool, attempt: Attempt, work: (lease: Lease) => Promise<T>): Promise<T> {
  const { operation, readOnly, signal, exchange } = attempt;
  const exclusive = operation === 'session';
  let acquiring: Promise<Connection> | undefined;
  let connection: Connection | undefined;
  let clean = !exclusive;
  let ended = false;

  const acquire = async (fresh: boolean) => {
    connection = await pool.acquire(signal, fresh);
    connection.onNotification = (channel, payload) => lease.onNotification?.(channel, payload);
    return connection;
  };

  const lease: Lease = {
    ...attempt,
    onNotification: undefined,
    get transactionStatus() {
      return connection?.transactionStatus;
    },
    get usable() {
      return !signal.aborted && (connection?.usable ?? true);
    },

    async send(statements) {
      if (ended) throw misuse(`The ${operation} has ended.`);
      clean &&= statements.every(({ text }) => LEAVES_NOTHING.test(text));
      const isFirst = acquiring === undefined;
      const acquired = await (acquiring ??= acquire(exclusive));
      const wasIdle = isFirst && acquired.transactionStatus !== undefined;
      try {
        return await exchange((deadline) => acquired.send(statements, deadline));
      } catch (error) {
        // A connection that went stale while it was idle is replaced, where nothing can have been committed over it.
        const harmless = operation === 'transaction' || readOnly || (error instanceof DatabaseError && error.retryable);
        if (!wasIdle || acquired.usable || signal.aborted || !harmless) throw error;
        pool.release(acquired, false);
        acquiring = acquire(true);
        const fresh = await acquiring;
        return exchange((deadline) => fresh.send(statements, deadline));
      }
    },
  };

  try {
    return await work(lease);
  } finally {
    if (exclusive) await discardAll(lease);
    ended = true;
    lease.onNotification = undefined;
    const release = (acquired: Connection) => pool.release(acquired, clean);
    acquiring?.then(release, () => {}); // not awaited: what nobody awaits may still wait for its connection
  }
}
