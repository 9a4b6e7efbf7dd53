import { DatabaseError, misuse } from './error.ts';
import type { Attempt, Lease } from './lease.ts';
import type { Scope } from './scope.ts';
import type { Statement, TransactionOptions } from './transport.ts';

/** Runs statements as one transaction in one flight: one round trip. */
export async function runBatch(lease: Lease, options: TransactionOptions, statements: readonly Statement[]) {
  const prologue = begin(options, lease);
  const flight = [...prologue, ...statements, command('commit')];
  await lease.take();
  try {
    return (await committing(lease, options, () => lease.send(flight))).slice(prologue.length, -1);
  } catch (error) {
    await rollBack(lease);
    throw error;
  }
}

/**
 * Runs `body` in a transaction: N + 1 round trips for N flights, none when it sends nothing. When `body` throws, the
 * transaction is rolled back and that error is the one thrown.
 *
 * BEGIN is one of the messages in front of the first statement, behind the same Sync: should it fail, the server skips the
 * statement. Sent as a query of its own, a failed BEGIN would let the statement behind it commit by itself.
 *
 * @throws {DatabaseError} `outcome-unknown` when the connection breaks after COMMIT was sent; `query` when an error was
 *   caught inside `body`, because PostgreSQL then answers COMMIT with a rollback
 */
export async function runTransaction<T>(
  lease: Lease,
  options: TransactionOptions,
  body: (scope: Scope) => Promise<T>,
): Promise<T> {
  /** What rides in front of the next flight. */
  let riding = begin(options, lease);
  let begun = false;
  let ended = false;
  /** Savepoints open now. They are a stack: only the innermost scope may be used. */
  let depth = 0;
  let pending = 0;
  let firstError: unknown;
  let tail: Promise<unknown> = Promise.resolve();

  const assertInnermost = (level: number, options = {}) => {
    if (Object.keys(options).length > 0) throw misuse('The transaction has its options.');
    if (ended || level > depth) throw misuse('The transaction has ended: await each query inside it.');
    if (level < depth) throw misuse('A nested transaction is open: use its own tx.');
  };
  /** Behind a BEGIN that failed, or a COMMIT sent by hand, a statement would commit by itself. */
  const assertOpen = () => {
    if (!lease.usable || lease.transactionStatus !== 'I') return;
    throw misuse('The transaction is no longer open: nothing was sent.', firstError);
  };
  const rolledBack = () => {
    const message = 'A failure was caught: all is rolled back. Use a nested transaction.';
    return misuse(message, firstError);
  };
  /** A statement has failed when the server says so, unless what waits to be sent undoes it. */
  const assertHealthy = () => {
    if (lease.transactionStatus === 'E' && !riding.some(({ text }) => text.startsWith('rollback to')))
      throw rolledBack();
  };

  const send = async (level: number, statements: readonly Statement[], options?: TransactionOptions) => {
    assertInnermost(level, options);
    const flight = [...riding, ...statements];
    const assertReady = begun ? assertOpen : () => {};
    riding = [];
    begun = true;
    pending++;
    const results = tail.then(() => {
      assertReady();
      return lease.send(flight);
    });
    tail = results.catch((error: unknown) => (firstError ??= error)).finally(() => pending--);
    return (await results).slice(flight.length - statements.length);
  };

  const scopeAt = (level: number): Scope => ({
    run: (statement) => send(level, [statement]),
    batch: (statements, options) => send(level, statements, options),

    async transaction(options, nested) {
      assertInnermost(level, options);
      assertHealthy();
      const savepoint = command(`savepoint savepoint_${level + 1}`);
      const release = command(`release ${savepoint.text}`);
      riding = [...riding, savepoint];
      depth++;
      /** Ends the savepoint: by `commands` if it was ever sent, else by not sending it. */
      const close = (commands: () => Statement[]) => {
        const unsent = riding.indexOf(savepoint);
        riding = unsent === -1 ? commands() : riding.slice(0, unsent);
        depth--;
      };
      try {
        const value = await nested(scopeAt(depth));
        await tail;
        assertHealthy();
        close(() => [...riding, release]);
        return value;
      } catch (error) {
        await tail;
        close(() => [command(`rollback to ${savepoint.text}`), release]);
        throw error;
      }
    },
  });

  try {
    const value = await lease.deadline.race(body(scopeAt(0)));
    if (depth > 0 || pending > 0) throw misuse('A query was left unawaited: all is rolled back.');
    ended = true;
    if (begun) {
      assertOpen();
      assertHealthy();
      const results = await committing(lease, options, () => lease.send([...riding, command('commit')]));
      if (results.at(-1)?.command !== 'COMMIT') throw rolledBack();
    }
    return value;
  } catch (error) {
    ended = true;
    await tail;
    await rollBack(lease);
    throw error;
  }
}

/** Sends what ends in COMMIT. Without the server's answer nobody knows whether it took effect. */
export async function committing<T>(
  { deadline }: Attempt,
  { accessMode }: TransactionOptions,
  send: () => Promise<T>,
): Promise<T> {
  deadline.signal.throwIfAborted();
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.retryable || accessMode === 'read only') throw error;
    const { code, kind, transport } = error;
    // Not told that the connection or the server goes down (SQLSTATE classes 08 and 57P), but why it did not take effect.
    if (code === undefined ? kind === 'auth' || kind === 'query' : !/^(08|57P)/.test(code)) throw error;
    const message = 'COMMIT was not answered: it may have taken effect.';
    throw new DatabaseError(message, { kind: 'outcome-unknown', transport, cause: error });
  }
}

/** Leaves the connection outside any transaction, if it can. Never throws: the first error is the one that matters. */
async function rollBack(lease: Lease): Promise<void> {
  if (lease.usable && /[TE]/.test(lease.transactionStatus ?? ''))
    await lease.send([command('rollback')]).catch(() => {});
}

/** Has a connection forget its state. Closing it would, too, but later than the next one may ask for the same lock. */
export async function discardAll(lease: Lease): Promise<void> {
  await rollBack(lease);
  if (lease.usable && lease.transactionStatus === 'I') await lease.send([command('discard all')]).catch(() => {});
}

function command(text: string): Statement {
  return { text, params: [] };
}

function begin({ isolationLevel, accessMode, deferrable }: TransactionOptions, attempt: Attempt): Statement[] {
  const level = isolationLevel && `isolation level ${isolationLevel}`;
  const waiting = deferrable === undefined ? undefined : deferrable ? 'deferrable' : 'not deferrable';
  const words = ['begin', level, accessMode, waiting].filter(Boolean);
  return [command(words.join(' ')), statementLimit(attempt)];
}

/** Keeps a deadline where no client and no proxy is needed for it: in the server, until the transaction's end. */
export function statementLimit({ statementMs }: Attempt): Statement {
  return command(`set local statement_timeout = ${Math.ceil(statementMs)}`);
}
