import { DatabaseError } from './error.ts';
import type { Connection, Statement, StatementResult, TransactionOptions } from './transport.ts';

/** What runs inside a transaction, or inside one of its savepoints. */
export interface TransactionScope {
  /** Sends statements in one flight; BEGIN and savepoints still unsent ride in front. One round trip. */
  run: (statements: readonly Statement[]) => Promise<StatementResult[]>;
  /** Runs `body` under a savepoint: when it throws, only what it did is undone. Costs no round trip of its own. */
  savepoint<T>(body: (scope: TransactionScope) => Promise<T>): Promise<T>;
}

/**
 * Runs `body` in a transaction on a connection: N + 1 round trips for N flights, none when it sends nothing. When `body`
 * throws, the transaction is rolled back and that error is the one thrown.
 *
 * BEGIN is one of the messages in front of the first statement, behind the same Sync: should it fail, the server skips the
 * statement. Sent as a query of its own, a failed BEGIN would let the statement behind it commit by itself.
 *
 * @throws {DatabaseError} `outcome-unknown` when the connection breaks after COMMIT was sent; `query` when an error was
 *   caught inside `body`, because PostgreSQL then answers COMMIT with a rollback
 */
export async function runTransaction<T>(
  connection: Connection,
  options: TransactionOptions,
  body: (scope: TransactionScope) => Promise<T>,
): Promise<T> {
  /** What rides in front of the next flight. */
  let prologue: Statement[] = [begin(options)];
  let begun = false;
  let ended = false;
  /** Savepoints open now. They are a stack: only the innermost scope may be used. */
  let depth = 0;
  let pending = 0;
  let firstError: unknown;
  let tail: Promise<unknown> = Promise.resolve();

  const refuse = (level: number): DatabaseError | undefined => {
    if (ended || level > depth) return misuse('The transaction has ended: await every query inside its callback.');
    if (level < depth) {
      return misuse('A nested transaction is open: use its own tx inside it, and await one before the next begins.');
    }
    return undefined;
  };

  /** Whether a statement has failed, and nothing that waits to be sent undoes it. */
  const failed = () =>
    connection.transactionStatus === 'E' && !prologue.some(({ text }) => text.startsWith('rollback to'));

  const send = (statements: readonly Statement[]): Promise<StatementResult[]> => {
    const flight = [...prologue, ...statements];
    const skip = prologue.length;
    const first = !begun;
    prologue = [];
    begun = true;
    pending++;
    const result = tail.then(async () => {
      // Behind a BEGIN that failed, or a COMMIT sent by hand, a statement would commit by itself.
      if (!first && connection.transactionStatus === 'I') throw noLongerOpen(firstError);
      return (await connection.send(flight)).slice(skip);
    });
    tail = result.then(
      () => pending--,
      (error: unknown) => {
        pending--;
        firstError ??= error;
      },
    );
    return result;
  };

  const scopeAt = (level: number): TransactionScope => ({
    async run(statements) {
      const refusal = refuse(level);
      if (refusal) throw refusal;
      return send(statements);
    },

    async savepoint(nested) {
      const refusal = refuse(level);
      if (refusal) throw refusal;
      if (failed()) throw rolledBack('transaction', firstError);
      const name = `savepoint_${level + 1}`;
      const mark = command(`savepoint ${name}`);
      prologue.push(mark);
      depth++;
      const sent = () => !prologue.includes(mark);
      try {
        const value = await nested(scopeAt(depth));
        await tail;
        if (failed()) throw rolledBack('nested transaction', firstError);
        prologue = sent() ? [...prologue, command(`release savepoint ${name}`)] : withoutLast(prologue, mark);
        return value;
      } catch (error) {
        await tail;
        prologue = sent()
          ? [command(`rollback to savepoint ${name}`), command(`release savepoint ${name}`)]
          : withoutLast(prologue, mark);
        throw error;
      } finally {
        depth--;
      }
    },
  });

  try {
    const value = await body(scopeAt(0));
    if (depth > 0 || pending > 0) {
      throw misuse('The transaction ended with queries unawaited, and was rolled back.');
    }
    ended = true;
    if (begun) {
      if (connection.usable && connection.transactionStatus === 'I') throw noLongerOpen(firstError);
      if (failed()) throw rolledBack('transaction', firstError);
      const results = await sendCommit(connection, [...prologue, command('commit')]);
      if (results.at(-1)?.command !== 'COMMIT') throw rolledBack('transaction', firstError);
    }
    return value;
  } catch (error) {
    ended = true;
    await tail;
    await rollBack(connection);
    throw error;
  }
}

/** Runs statements as one transaction in one flight: one round trip. */
export async function runBatch(
  connection: Connection,
  statements: readonly Statement[],
  options: TransactionOptions,
): Promise<StatementResult[]> {
  try {
    return (await sendCommit(connection, [begin(options), ...statements, command('commit')])).slice(1, -1);
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

/** Leaves the connection outside any transaction, or closed. Never throws: the first error is the one that matters. */
export async function rollBack(connection: Connection): Promise<void> {
  if (!connection.usable || connection.transactionStatus === 'I') return;
  try {
    await connection.send([command('rollback')]);
  } catch {
    connection.close();
  }
}

/** Sends a flight that ends in COMMIT. When the connection breaks before the answer, nobody knows whether it took effect. */
async function sendCommit(connection: Connection, flight: readonly Statement[]): Promise<StatementResult[]> {
  try {
    return await connection.send(flight);
  } catch (error) {
    // An answer, a refusal to log in, or a flight that never left: then it is known that nothing was committed.
    const known = error instanceof DatabaseError && (error.retryable || error.kind === 'auth');
    if (connection.usable || known) throw error;
    throw new DatabaseError('The connection broke after COMMIT was sent: whether it took effect is not known.', {
      kind: 'outcome-unknown',
      transport: error instanceof DatabaseError ? error.transport : undefined,
      cause: error,
    });
  }
}

/** Takes off a savepoint that was never sent, with what nested ones left behind it. */
function withoutLast(prologue: readonly Statement[], mark: Statement): Statement[] {
  return prologue.slice(0, prologue.indexOf(mark));
}

export function command(text: string): Statement {
  return { text, params: [] };
}

function begin({ isolationLevel, accessMode, deferrable }: TransactionOptions): Statement {
  const words = ['begin'];
  if (isolationLevel) words.push(`isolation level ${isolationLevel}`);
  if (accessMode) words.push(accessMode);
  if (deferrable !== undefined) words.push(deferrable ? 'deferrable' : 'not deferrable');
  return command(words.join(' '));
}

function noLongerOpen(cause: unknown): DatabaseError {
  return misuse('The transaction is no longer open: nothing more was sent, and it did not commit here.', cause);
}

function rolledBack(what: string, cause: unknown): DatabaseError {
  return misuse(
    `The ${what} was rolled back: a statement in it failed and the error was caught. Run what may fail in a nested transaction of its own.`,
    cause,
  );
}

function misuse(message: string, cause?: unknown): DatabaseError {
  return new DatabaseError(message, { kind: 'query', cause });
}

/** One connection that keeps its state: statements one by one, or a transaction, but not both at once. */
export interface SessionScope {
  run: (statements: readonly Statement[]) => Promise<StatementResult[]>;
  batch(statements: readonly Statement[], options: TransactionOptions): Promise<StatementResult[]>;
  transaction<T>(options: TransactionOptions, body: (scope: TransactionScope) => Promise<T>): Promise<T>;
}

export function createSessionScope(connection: Connection): SessionScope {
  let open = false;
  const whileFree = async <T>(work: () => Promise<T>): Promise<T> => {
    if (open) throw misuse('A transaction is open on this session: use its tx, and await it before anything else.');
    return work();
  };
  const exclusively = <T>(work: () => Promise<T>): Promise<T> =>
    whileFree(async () => {
      open = true;
      try {
        return await work();
      } finally {
        open = false;
      }
    });
  return {
    run: (statements) => whileFree(() => connection.send(statements)),
    batch: (statements, options) => exclusively(() => runBatch(connection, statements, options)),
    transaction: (options, body) => exclusively(() => runTransaction(connection, options, body)),
  };
}
