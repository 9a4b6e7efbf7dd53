import type { ConnectionTarget } from './connection-string.ts';
import { misuse } from './error.ts';
import type { Attempt, Lease } from './lease.ts';
import { committing, runBatch, runTransaction, statementLimit } from './transaction.ts';
import type { Connection, HttpTransport, Statement, StatementResult, TransactionOptions } from './transport.ts';

/** Where statements run: on their own, inside a transaction or one of its savepoints, or on a session's connection. */
export interface Scope {
  /** Runs a statement, and gives its one result. */
  run: (statement: Statement) => Promise<StatementResult[]>;
  /** Runs statements as one transaction, or as a part of the one at hand. One round trip. */
  batch: (statements: readonly Statement[], options: TransactionOptions) => Promise<StatementResult[]>;
  /** Inside a transaction: a savepoint, which costs no round trip of its own. */
  transaction: <T>(options: TransactionOptions, body: (scope: Scope) => Promise<T>) => Promise<T>;
  /** On a connection of its own: has `listener` called for every notification that arrives. */
  onNotification?: (listener: Connection['onNotification']) => void;
}

/** One connection: statements one by one, or a transaction, but not both at once. */
export function connectionScope(lease: Lease): Scope {
  let busy = false;
  const assertFree = () => {
    if (busy) throw misuse('A transaction is open on this session: use its tx.');
  };
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    assertFree();
    busy = true;
    return work().finally(() => (busy = false));
  };
  return {
    async run(statement) {
      assertFree();
      return lease.send([statement]);
    },
    batch: (statements, options) => alone(() => runBatch(lease, options, statements)),
    transaction: (options, body) => alone(() => runTransaction(lease, options, body)),
    onNotification: (listener) => (lease.onNotification = listener),
  };
}

/** Requests, each for itself. */
export function httpScope(http: HttpTransport, target: ConnectionTarget, attempt: Attempt): Scope {
  const send = (statements: readonly Statement[], options?: TransactionOptions) =>
    attempt.exchange(() => http.send(target, statements, options, attempt.deadline.signal));
  return {
    run: (statement) => send([statement]),
    async batch(statements, options) {
      const limited = [statementLimit(attempt), ...statements];
      return (await committing(attempt, options, () => send(limited, options))).slice(1);
    },
    transaction: () => Promise.reject(misuse('HTTP keeps no connection.')),
  };
}
