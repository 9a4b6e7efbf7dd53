import { abortable } from './deadline.ts';
import { DatabaseError, misuse } from './error.ts';
import type { Lease } from './lease.ts';
import type { Scope } from './scope.ts';
import type { Statement, StatementResult, TransactionOptions } from './transport.ts';

/** Runs statements as one transaction in one flight: one round trip. */
export async function runBatch(lease: Lease, options: TransactionOptions, statements: readonly Statement[]) {
  const prologue = begin(options, lease);
  const flight = [...prologue, ...statements, command('commit')];
  try {
    return (await committing(options, () => lease.send(flight))).slice(prologue.length, -1);
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

  const assertInnermost = (level: number) => {
    if (ended || level > depth) throw misuse('The transaction has ended: await every query inside its callback.');
    if (level === depth) return;
    throw misuse('A nested transaction is open: use its own tx inside it, and await one before the next begins.');
  };
  const assertOpen = () => {
    if (!lease.usable || lease.transactionStatus !== 'I') return;
    throw misuse('The transaction is no longer open: nothing more was sent, and it did not commit here.', firstError);
  };
  /** Whether a statement has failed, and nothing that waits to be sent undoes it. */
  const failed = () => lease.transactionStatus === 'E' && !riding.some(({ text }) => text.startsWith('rollback to'));
  const rolledBack = (what: string) => {
    const remedy = 'Run what may fail in a nested transaction of its own.';
    return misuse(
      `The ${what} was rolled back: a statement in it failed and the error was caught. ${remedy}`,
      firstError,
    );
  };

  const send = async (level: number, statements: readonly Statement[]): Promise<StatementResult[]> => {
    assertInnermost(level);
    const skip = riding.length;
    const flight = [...riding, ...statements];
    const isFirst = !begun;
    riding = [];
    begun = true;
    pending++;
    const results = tail.then(() => {
      // Behind a BEGIN that failed, or a COMMIT sent by hand, a statement would commit by itself.
      if (!isFirst) assertOpen();
      return lease.send(flight);
    });
    tail = results.catch((error: unknown) => (firstError ??= error)).finally(() => pending--);
    return (await results).slice(skip);
  };

  const scopeAt = (level: number): Scope => ({
    run: async (statement) => only(await send(level, [statement])),
    batch: (statements) => send(level, statements),

    async transaction(_options, nested) {
      assertInnermost(level);
      if (failed()) throw rolledBack('transaction');
      const savepoint = command(`savepoint savepoint_${level + 1}`);
      const release = command(`release ${savepoint.text}`);
      riding = [...riding, savepoint];
      depth++;
      /** Ends the savepoint: by `commands` if it was ever sent, else by not sending it. */
      const close = (commands: Statement[]) => {
        const unsent = riding.indexOf(savepoint);
        riding = unsent === -1 ? commands : riding.slice(0, unsent);
      };
      try {
        const value = await nested(scopeAt(depth));
        await tail;
        if (failed()) throw rolledBack('nested transaction');
        close([...riding, release]);
        return value;
      } catch (error) {
        await tail;
        close([command(`rollback to ${savepoint.text}`), release]);
        throw error;
      } finally {
        depth--;
      }
    },
  });

  try {
    const value = await abortable(lease.signal, body(scopeAt(0)));
    if (depth > 0 || pending > 0) throw misuse('The transaction ended with queries unawaited, and was rolled back.');
    ended = true;
    if (begun) {
      assertOpen();
      if (failed()) throw rolledBack('transaction');
      const results = await committing(options, () => lease.send([...riding, command('commit')]));
      if (results.at(-1)?.command !== 'COMMIT') throw rolledBack('transaction');
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
export async function committing<T>({ accessMode }: TransactionOptions, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.retryable || accessMode === 'read only') throw error;
    const { code, kind, transport } = error;
    // Told nothing, or told that the connection or the server goes down (SQLSTATE classes 08 and 57P).
    const silent = code === undefined && (kind === 'connection' || kind === 'timeout' || kind === 'unavailable');
    if (!silent && !/^(08|57P)/.test(code ?? '')) throw error;
    const message = 'The answer to COMMIT did not come: whether it took effect is not known.';
    throw new DatabaseError(message, { kind: 'outcome-unknown', transport, cause: error });
  }
}

/** Leaves the connection outside any transaction, if it can. Never throws: the first error is the one that matters. */
async function rollBack(lease: Lease): Promise<void> {
  const open = lease.transactionStatus === 'T' || lease.transactionStatus === 'E';
  if (lease.usable && open) await lease.send([command('rollback')]).catch(() => {});
}

/** Has a connection forget its state. Closing it would, too, but later than the next one may ask for the same lock. */
export async function discardAll(lease: Lease): Promise<void> {
  await rollBack(lease);
  if (lease.usable && lease.transactionStatus === 'I') await lease.send([command('discard all')]).catch(() => {});
}

function command(text: string): Statement {
  return { text, params: [] };
}

function begin({ isolationLevel, accessMode, deferrable }: TransactionOptions, { statementMs }: Lease): Statement[] {
  const words = ['begin'];
  if (isolationLevel) words.push(`isolation level ${isolationLevel}`);
  if (accessMode) words.push(accessMode);
  if (deferrable !== undefined) words.push(deferrable ? 'deferrable' : 'not deferrable');
  return [command(words.join(' ')), statementLimit(statementMs)];
}

/** Keeps a deadline where no client and no proxy is needed for it: in the server, until the transaction's end. */
export function statementLimit(statementMs: number): Statement {
  return command(`set local statement_timeout = ${Math.ceil(statementMs)}`);
}

export function only([result]: StatementResult[]): StatementResult {
  if (!result) throw new Error('a statement without a result');
  return result;
}
