import type { DatabaseError } from '../error.ts';
import type { Attempt, Plan } from './attempt.ts';
import type { Pool } from './pool.ts';
import { connectionScope, type Line, type Scope } from '../transaction.ts';
import type { Connection } from '../transport.ts';

/**
 * Statements whose effect ends with their transaction. What others leave behind must not meet the next operation: a
 * setting, unless the third argument of `set_config` says that it is local, a seed, a lock, or a temporary table. What a
 * function of the database's own does is not seen here.
 */
const LEAVES_NOTHING =
  /^[\s(]*(select|with|insert|update|delete|merge|begin|commit|rollback|savepoint|release|set local)\b(?!.*(setseed|pg_settings|set_config(?!\([^()]*true\))|advisory_lock|into\s*[^;]{0,12}temp(orary)?\b))/is;

/** Lends `work` a connection, taken from the pool when it first needs one. A session's is new, and is closed afterwards. */
export async function lend<T>(
  pool: Pool,
  { operation, readOnly, connectMs, statementMs }: Plan,
  { signal, fail, race, limit, exchange }: Attempt,
  work: (scope: Scope) => Promise<T>,
): Promise<T> {
  const isSession = operation === 'session';
  let acquiring: Promise<Connection> | undefined;
  let connection: Connection | undefined;
  let isFirst = true;
  let isClean = !isSession;
  signal.addEventListener('abort', () => void connection?.close(signal.reason));

  const acquire = async (fresh: boolean) => {
    connection = await limit('Waiting for a connection', connectMs, () => race(pool.acquire(signal, fresh)));
    if (isSession) {
      connection.onNotification = (notification) => {
        (async () => scope.onNotification?.(notification))().catch(fail);
      };
      // Nothing else tells a session that waits: for a notification, or for others while it holds a lock.
      connection.onFailure = fail;
    }
    return connection;
  };
  const line: Line = {
    get transactionStatus() {
      return connection?.transactionStatus;
    },

    async send(statements, commits) {
      isClean &&= statements.every(({ text }) => LEAVES_NOTHING.test(text));
      const acquired = await (acquiring ??= acquire(isSession));
      const wasIdle = isFirst && acquired.transactionStatus;
      isFirst = false;
      try {
        return await exchange(() => acquired.send(statements), commits);
      } catch (error) {
        // A connection that went stale while it was idle is replaced, where nothing can have been committed over it.
        const isHarmless = (error as DatabaseError).retryable || operation === 'transaction' || readOnly;
        if (!isHarmless || !wasIdle || acquired.transactionStatus || signal.aborted) throw error;
        void pool.release(acquired, false);
        acquiring = acquire(true);
        return line.send(statements, commits);
      }
    },
  };

  const scope: ReturnType<typeof connectionScope> = connectionScope(line, statementMs);
  try {
    return await race(work(scope));
  } finally {
    if (isSession) await scope.end();
    // Not awaited: what nobody awaits may still wait for its connection.
    acquiring?.then((acquired) => pool.release(acquired, isClean)).catch(() => {});
  }
}
