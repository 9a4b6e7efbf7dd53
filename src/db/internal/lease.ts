import type { DatabaseError } from '../error.ts';
import type { Attempt, Plan } from './attempt.ts';
import type { Pool } from './pool.ts';
import { connectionScope, type LazyConnection, type Scope } from '../transaction.ts';
import type { Connection } from '../transport.ts';

/** Statements whose effect ends with their transaction: only after these may a connection serve another operation. */
const TRANSACTIONAL =
  /^[\s(]*(select|with|insert|update|delete|merge|begin|commit|rollback|savepoint|release|set local)\b/i;

/**
 * Unless they contain one of these, whose effect stays on the connection: a setting (unless the third argument of `set_config`
 * makes it local), a seed, a lock, or a temporary table. What user-defined functions do cannot be seen here.
 */
const STATEFUL = /setseed|pg_settings|set_config(?!\([^()]*true\))|advisory_lock|into\s*[^;]{0,12}temp(orary)?\b/i;

/** Lends `work` a connection, taken from the pool when it first needs one. A session's is new and is closed afterwards. */
export async function lend<T>(
  pool: Pool,
  { operation, readOnly, connectMs, statementMs }: Plan,
  { signal, fail, race, limit, exchange }: Attempt,
  work: (scope: Scope) => Promise<T>,
): Promise<T> {
  const isSession = operation === 'session';
  let acquiring: Promise<Connection> | undefined;
  let connection: Connection | undefined;
  let isClean = !isSession;
  signal.addEventListener('abort', () => void connection?.close(signal.reason));

  const acquire = async (fresh: boolean) => {
    connection = await limit('Waiting for a connection', connectMs, () => race(pool.acquire(signal, fresh)));
    if (isSession) {
      connection.onNotification = (notification) => {
        (async () => scope.onNotification?.(notification))().catch((error) => fail(error, true));
      };
      // Nothing else would stop a session that is waiting: for a notification, or for others while it holds a lock.
      connection.onFailure = fail;
    }
    return connection;
  };
  const lazyConnection: LazyConnection = {
    get transactionStatus() {
      return connection?.transactionStatus;
    },

    async send(statements, commits) {
      isClean &&= statements.every(({ text }) => TRANSACTIONAL.test(text) && !STATEFUL.test(text));
      const isFirst = !acquiring;
      const acquired = await (acquiring ??= acquire(isSession));
      const wasIdle = isFirst && acquired.transactionStatus; // a new one has no status yet
      try {
        return await exchange(() => acquired.send(statements), commits);
      } catch (error) {
        // A connection that went stale while idle is replaced, if nothing can have been committed over it.
        const isHarmless = (error as DatabaseError).retryable || operation === 'transaction' || readOnly;
        if (!isHarmless || !wasIdle || acquired.transactionStatus) throw error;
        void pool.release(acquired, false);
        acquiring = acquire(true);
        return lazyConnection.send(statements, commits);
      }
    },
  };

  const scope: ReturnType<typeof connectionScope> = connectionScope(lazyConnection, statementMs);
  try {
    return await race(work(scope));
  } finally {
    if (isSession) await scope.end();
    // Not awaited: a query that the callback did not await may still be waiting for the connection.
    acquiring?.then((acquired) => pool.release(acquired, isClean)).catch(() => {});
  }
}
