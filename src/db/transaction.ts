import type { Deadline } from './internal/deadline.ts';
import { DatabaseError, misuse } from './error.ts';
import type { Timeouts } from './options.ts';
import type { Connection, Statement, StatementResult, TransactionOptions } from './transport.ts';

/** Where statements run: on their own, inside a transaction or one of its savepoints, or on a session's connection. */
export interface Scope extends Pick<Connection, 'onNotification'> {
  /** Runs one statement; with `options` any number, as one transaction or as a part of the one at hand. One round trip. */
  send(statements: readonly Statement[], options?: TransactionOptions): Promise<StatementResult[]>;
  /** Inside a transaction: a savepoint. */
  transaction<T>(options: TransactionOptions, body: (scope: Scope) => Promise<T>): Promise<T>;
}

export interface Limits extends Pick<Timeouts, 'statementMs'> {
  readonly deadline: Deadline;
}

const command = (text: string): Statement => ({ text, params: [] });

/** Requests, each for itself. */
export function sendRequests(send: Scope['send'], limits: Limits): Scope['send'] {
  return async (statements, options) => {
    if (!options) return send(statements);
    const limited = [timeLimit(limits), ...statements];
    return (await committing(limits, options, () => send(limited, options))).slice(1);
  };
}

/** A connection that is there when it is needed. */
export interface Line extends Pick<Connection, 'send' | 'transactionStatus'> {
  /** Takes the connection. What fails here was never sent. */
  take(): Promise<unknown>;
}

/** A transaction or a savepoint in it; or what they are in, a session. */
interface Level {
  /** Queries that have no answer yet. */
  pending: number;
  /** The error of its first flight that failed. */
  error?: unknown;
  /** Of an outermost transaction: whether BEGIN has been sent. */
  begun: boolean;
}

/**
 * One connection: statements one by one; a transaction; in that a savepoint, and so on. In a transaction N flights take
 * N + 1 round trips, and none take none: BEGIN travels in front of the first statement, behind the same Sync. Should it
 * fail, the server skips the statement, which behind a BEGIN that was sent on its own would commit by itself.
 */
export function connectionScope(line: Line, limits: Limits) {
  const session: Level = { pending: 0, begun: false };
  /** What is open, from the outside in. Only the innermost may be used. */
  const open = [session];
  /** What goes in front of the next flight. */
  let riding: Statement[] = [];
  /** Settles when the line is free: a flight has to wait for the one before. */
  let tail: Promise<unknown> = Promise.resolve();

  const assertInnermost = (level: Level, options: TransactionOptions = {}) => {
    if (JSON.stringify(options) !== '{}') throw misuse('A transaction has its options.');
    if (!open.includes(level)) throw misuse('This has ended: await each query in it.');
    if (open.at(-1) !== level) throw misuse('A transaction is open in here: use its tx.');
  };
  const rolledBack = ({ error }: Level) =>
    misuse('A failure was caught: all is rolled back. Use a nested transaction.', error);
  /** Status E: a statement failed. That is harmless when it was a nested one's, whose ROLLBACK TO waits in `riding`. */
  const assertHealthy = (level: Level) => {
    const isUndone = !level.error && riding[0]?.text.startsWith('rollback to');
    if (line.transactionStatus === 'E' && !isUndone) throw rolledBack(level);
  };
  /** After a failed BEGIN, or a COMMIT by hand, a statement would commit alone; after a BEGIN by hand, join what that began. */
  const assertBegun = (begun: boolean, cause?: unknown) => {
    const { transactionStatus } = line;
    if (!transactionStatus || begun === (transactionStatus !== 'I')) return;
    throw misuse('BEGIN failed, or it or COMMIT was sent by hand: nothing was sent.', cause);
  };

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = tail.then(work);
    tail = result.catch(() => {});
    return result;
  };

  const fly = async (level: Level, statements: readonly Statement[]): Promise<StatementResult[]> => {
    const [, top] = open;
    const flight = [...riding, ...statements];
    riding = [];
    level.pending++;
    try {
      const results = await inTurn(async () => {
        if (top) {
          assertBegun(top.begun, top.error);
          top.begun = true;
        }
        return line.send(flight);
      });
      return results.slice(flight.length - statements.length);
    } catch (error) {
      level.error ??= error;
      throw error;
    } finally {
      level.pending--;
    }
  };

  /** Sends a command in one of these states. Never throws: the first error is the one that matters. */
  const tidyUp = async (text: string, states: string) => {
    if (states.includes(line.transactionStatus ?? '-')) await line.send([command(text)]).catch(() => {});
  };

  const batch = async (statements: readonly Statement[], options: TransactionOptions) => {
    const prologue = begin(options, limits);
    assertInnermost(session);
    await line.take();
    // All of it in one turn: what runs beside it must not meet a transaction that failed.
    return inTurn(async () => {
      assertBegun(false);
      try {
        const flight = [...prologue, ...statements, command('commit')];
        return (await committing(limits, options, () => line.send(flight))).slice(prologue.length, -1);
      } catch (error) {
        await tidyUp('rollback', 'TE');
        throw error;
      }
    });
  };

  const transaction = async <T>(outer: Level, options: TransactionOptions, body: (scope: Scope) => Promise<T>) => {
    const isNested = outer !== session;
    assertInnermost(outer, isNested ? options : {});
    if (isNested) assertHealthy(outer);
    const savepoint = `savepoint s${open.length}`;
    const prologue = isNested ? [command(savepoint)] : begin(options, limits);
    const before = riding;
    riding = [...before, ...prologue];
    /** Whether the server knows nothing of it: then nothing has to end it. */
    const isUnsent = () => prologue.some((statement) => riding.includes(statement));
    const level: Level = { pending: 0, begun: false };
    open.push(level);
    try {
      const value = await body(scopeAt(level));
      if (open.at(-1) !== level || level.pending > 0) throw misuse('A query was left unawaited: all is rolled back.');
      assertHealthy(level);
      if (isUnsent()) riding = before;
      else if (isNested) riding = [...riding, command(`release ${savepoint}`)];
      else {
        const [result] = await committing(limits, options, () => fly(level, [command('commit')]));
        if (result?.command !== 'COMMIT') throw rolledBack(level);
      }
      return value;
    } catch (error) {
      if (!isNested) {
        riding = [];
        open.splice(1);
        // In turn: a flight that waits may carry its BEGIN.
        await inTurn(async () => level.begun && tidyUp('rollback', 'TE'));
      } else if (open.includes(level)) {
        riding = isUnsent() ? before : [command(`rollback to ${savepoint}`), command(`release ${savepoint}`)];
      }
      throw error;
    } finally {
      if (open.includes(level)) open.length = open.indexOf(level);
    }
  };

  const scopeAt = (level: Level): Scope => ({
    async send(statements, options) {
      if (level === session && options) return batch(statements, options);
      assertInnermost(level, options);
      return fly(level, statements);
    },
    transaction: (options, body) => transaction(level, options, body),
  });

  return {
    ...scopeAt(session),
    /** Has the connection forget its state. Closing it would, too, but later than the next may ask for the same lock. */
    async end(): Promise<void> {
      open.length = 0;
      await inTurn(async () => {
        await tidyUp('rollback', 'TE');
        await tidyUp('discard all', 'I');
      });
    },
  };
}

/** Sends what ends in COMMIT. @throws {DatabaseError} `outcome-unknown` when the answer does not come */
async function committing<T>({ deadline }: Limits, { accessMode }: TransactionOptions, send: () => Promise<T>) {
  deadline.signal.throwIfAborted();
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.retryable || accessMode === 'read only') throw error;
    const { code, kind, transport } = error;
    // Not told that the connection or the server goes down (SQLSTATE classes 08 and 57P), but why it did not take effect.
    if (kind === 'query' || (code ? !/^(08|57P)/.test(code) : kind === 'auth')) throw error;
    const message = 'COMMIT was not answered: it may have taken effect.';
    const unknown = new DatabaseError(message, { kind: 'outcome-unknown', transport, cause: error });
    deadline.fail(unknown); // a session ends with this, whatever its callback still does
    throw unknown;
  }
}

function begin({ isolationLevel, accessMode, deferrable }: TransactionOptions, limits: Limits): Statement[] {
  const level = isolationLevel && `isolation level ${isolationLevel}`;
  const words = ['begin', level, accessMode, deferrable && 'deferrable'].filter(Boolean);
  return [command(words.join(' ')), timeLimit(limits)];
}

/** Keeps a deadline where no client and no proxy is needed for it: in the server, until the transaction's end. */
function timeLimit({ statementMs }: Limits): Statement {
  return command(`set local statement_timeout = ${Math.ceil(statementMs)}`);
}
