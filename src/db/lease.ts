import type { Operation } from './choose-transport.ts';
import { DatabaseError } from './error.ts';
import type { Pool } from './pool.ts';
import type { Connection, Statement, StatementResult } from './transport.ts';

/** A connection for one operation: taken from its pool when the first flight needs it, of no use after the end. */
export interface Lease extends Omit<Connection, 'close' | 'transactionStatus'> {
  /** undefined until there is a connection. */
  readonly transactionStatus: Connection['transactionStatus'] | undefined;
  /** Aborts when the operation has to stop. */
  readonly signal: AbortSignal;
  /** Gives the connection back. */
  end(): void;
}

interface LeaseOptions {
  signal: AbortSignal;
  /** A session takes a connection that nobody has used, and leaves it to nobody. */
  operation: Operation;
  /** Whether nothing can have been committed by a first flight that got no answer. */
  resendable: boolean;
  /** Runs one exchange with the server under its deadline. */
  exchange: (flight: (signal: AbortSignal) => Promise<StatementResult[]>) => Promise<StatementResult[]>;
}

/** Statements whose effect ends with their transaction. What others leave behind must not meet the next operation. */
const LEAVES_NOTHING =
  /^\s*(select|with|insert|update|delete|merge|values|begin|commit|rollback|savepoint|release|fetch|lock|show|explain|set\s+(local|transaction|constraints))\b/i;

export function createLease(pool: Pool, options: LeaseOptions): Lease {
  const { signal, operation, resendable, exchange } = options;
  const exclusive = operation === 'session';
  let acquiring: ReturnType<Pool['acquire']> | undefined;
  let connection: Connection | undefined;
  let clean = !exclusive;
  let ended = false;

  const acquire = (fresh: boolean) =>
    pool.acquire(signal, fresh).then((acquired) => {
      ({ connection } = acquired);
      connection.onNotification = (channel, payload) => lease.onNotification?.(channel, payload);
      return acquired;
    });

  const over = (used: Connection, statements: readonly Statement[]) =>
    exchange(async (flightSignal) => {
      const stop = () => void used.close(flightSignal.reason);
      if (flightSignal.aborted) stop();
      flightSignal.addEventListener('abort', stop);
      try {
        return await used.send(statements);
      } finally {
        flightSignal.removeEventListener('abort', stop);
      }
    });

  const lease: Lease = {
    signal,
    onNotification: undefined,
    get transactionStatus() {
      return connection?.transactionStatus;
    },
    get usable() {
      return connection?.usable ?? true;
    },

    async send(statements) {
      if (ended) throw new DatabaseError(`The ${operation} has ended.`, { kind: 'query' });
      clean &&= statements.every(({ text }) => LEAVES_NOTHING.test(text));
      const isFirst = acquiring === undefined;
      const acquired = await (acquiring ??= acquire(exclusive));
      try {
        return await over(acquired.connection, statements);
      } catch (error) {
        // A connection that went stale while nobody used it is replaced, once.
        const stale = isFirst && acquired.reused && !acquired.connection.usable && !signal.aborted;
        if (!stale || !(resendable || (error instanceof DatabaseError && error.retryable))) throw error;
        connection = undefined;
        pool.release(acquired.connection, false);
        acquiring = acquire(true);
        return over((await acquiring).connection, statements);
      }
    },

    end() {
      ended = true;
      lease.onNotification = undefined;
      if (connection) pool.release(connection, clean);
      else
        acquiring?.then(
          () => lease.end(),
          () => {},
        );
    },
  };
  return lease;
}
