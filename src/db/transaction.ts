import { misuse } from './error.ts';
import type { Connection, Statement, StatementResult, TransactionOptions } from './transport.ts';

/** Where statements run: on their own, inside a transaction or one of its savepoints, or on a session's connection. */
export interface Scope extends Pick<Connection, 'onNotification'> {
  /** Runs one statement; with `options` any number, as one transaction or as a part of the one at hand. One round trip. */
  send(statements: readonly Statement[], options?: TransactionOptions): Promise<StatementResult[]>;
  /** Inside a transaction: a savepoint. */
  transaction<T>(options: TransactionOptions, body: (scope: Scope) => Promise<T>): Promise<T>;
}

export const command = (text: string): Statement => ({ text, params: [] });

/** Requests, each for itself: of several statements it makes a transaction. */
export function sendRequests(send: Scope['send'], statementMs: number): Scope['send'] {
  return async (statements, options) => {
    if (!options) return send(statements);
    const set = modes(options) && `set transaction ${modes(options)}`;
    const prologue = [set, timeLimit(statementMs)].filter(Boolean).map(command);
    return (await send([...prologue, ...statements], options)).slice(prologue.length);
  };
}

/** A connection that is acquired when it is first needed. */
export interface Line extends Pick<Connection, 'transactionStatus'> {
  /** Sends a flight. @param commits the transaction whose COMMIT is its last statement */
  send(statements: readonly Statement[], commits?: TransactionOptions): Promise<StatementResult[]>;
}

/** A transaction or a savepoint in it; or what they are in, a session. */
interface Level {
  /** What goes in front of the next flight: what opens it; later, what ends a savepoint in it. */
  riding: Statement[];
  /** Whether a flight has taken along what opens it. Until then the server knows nothing of it, and nothing has to end it. */
  sent: boolean;
  /** Queries that have no answer yet. */
  pending: number;
  /** The error of its first flight that failed. */
  error?: unknown;
}

/**
 * One connection: statements one by one; a transaction; in that a savepoint, and so on. In a transaction N flights take
 * N + 1 round trips, and none take none: BEGIN travels in front of the first statement, behind the same Sync. Should it
 * fail, the server skips the statement, which behind a BEGIN that was sent on its own would commit by itself.
 */
export function connectionScope(line: Line, statementMs: number) {
  const session: Level = { riding: [], sent: false, pending: 0 };
  /** What is open, from the outside in. Only the innermost may be used. */
  const open = [session];
  /** Numbers the savepoints: a name used again could lead to an earlier one, whose RELEASE failed, and undo that, too. */
  let savepoints = 0;
  /** Settles when the line is free: a flight has to wait for the one before. */
  let tail: Promise<unknown> = Promise.resolve();

  const assertInnermost = (level: Level, options: TransactionOptions = {}) => {
    if (modes(options)) throw misuse('A transaction is open: no options.');
    if (!open.includes(level)) throw misuse('This has ended: await its queries.');
    if (open.at(-1) !== level) throw misuse('A transaction is open: use its tx.');
  };
  const rolledBack = ({ error }: Level) =>
    misuse('A failure was caught: all is rolled back. Nest a transaction.', error);
  /** Status E: a statement failed. If it was a nested one's alone, this level goes on: ROLLBACK TO rides in front of its next. */
  const assertHealthy = (level: Level) => {
    if (level.error && line.transactionStatus === 'E') throw rolledBack(level);
  };
  /** Without a transaction (BEGIN failed, or a COMMIT by hand) a statement would commit alone; in one begun by hand, be part of it. */
  const assertBegun = (begun: boolean, top?: Level) => {
    const { transactionStatus } = line;
    if (!transactionStatus || begun === (transactionStatus !== 'I')) return;
    if (top) top.sent = begun; // where our BEGIN has not left, a transaction begun by hand is not ours to end
    throw misuse('BEGIN failed, or it or COMMIT was sent by hand.', top?.error);
  };

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = tail.then(work);
    tail = result.catch(() => {});
    return result;
  };

  const takeAlong = (level: Level) => {
    level.sent = true;
    return level.riding.splice(0);
  };

  const fly = async (level: Level, statements: readonly Statement[], commits?: TransactionOptions) => {
    const [, top] = open;
    const begins = top && !top.sent;
    const flight = [...open.flatMap(takeAlong), ...statements];
    level.pending++;
    try {
      const results = await inTurn(async () => {
        if (top) assertBegun(top.sent && !begins, top);
        return line.send(flight, commits);
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
    const prologue = begin(options, statementMs);
    assertInnermost(session);
    // All of it in one turn: what runs beside it must not meet a transaction that failed.
    return inTurn(async () => {
      assertBegun(false);
      try {
        const results = await line.send([...prologue, ...statements, command('commit')], options);
        return results.slice(prologue.length, -1);
      } catch (error) {
        await tidyUp('rollback', 'TE');
        throw error;
      }
    });
  };

  const transaction = async <T>(outer: Level, options: TransactionOptions, body: (scope: Scope) => Promise<T>) => {
    const isNested = outer !== session;
    assertInnermost(outer, isNested ? options : undefined);
    if (isNested) assertHealthy(outer);
    const name = `s${++savepoints}`;
    const release = command(`release ${name}`);
    const riding = isNested ? [command(`savepoint ${name}`)] : begin(options, statementMs);
    const level: Level = { riding, sent: false, pending: 0 };
    open.push(level);
    try {
      const value = await body(scopeAt(level));
      if (open.at(-1) !== level || level.pending > 0) throw misuse('A query was not awaited: all is rolled back.');
      assertHealthy(level);
      if (!level.sent) return value; // it sent nothing: its BEGIN or SAVEPOINT is dropped, too
      if (isNested) outer.riding = [...level.riding, release];
      else {
        const [result] = await fly(level, [command('commit')], options);
        if (result?.command !== 'COMMIT') throw rolledBack(level);
      }
      return value;
    } catch (error) {
      if (!level.sent) throw error;
      if (isNested) outer.riding = [command(`rollback to ${name}`), release];
      else {
        open.splice(1); // first: what a session sends from here on comes behind the ROLLBACK
        // In turn, behind flights that still wait: only then is it known whether the BEGIN has left.
        await inTurn(async () => level.sent && tidyUp('rollback', 'TE'));
      }
      throw error;
    } finally {
      if (open.includes(level)) open.splice(open.indexOf(level));
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

function begin(options: TransactionOptions, statementMs: number): Statement[] {
  return [`begin ${modes(options)}`, timeLimit(statementMs)].map(command);
}

function modes({ isolationLevel, accessMode, deferrable }: TransactionOptions): string {
  const level = isolationLevel && `isolation level ${isolationLevel}`;
  return [level, accessMode, deferrable && 'deferrable'].filter(Boolean).join(' ');
}

/** Keeps a deadline where no client and no proxy is needed for it: in the server, until the transaction's end. */
function timeLimit(statementMs: number): string {
  return `set local statement_timeout = ${Math.ceil(statementMs)}`;
}
