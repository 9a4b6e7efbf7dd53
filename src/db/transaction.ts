import { misuse } from './error.ts';
import type { Connection, Statement, StatementResult, TransactionOptions } from './transport.ts';

/** Where statements run: on their own, inside a transaction or one of its savepoints, or on a session's connection. */
export interface Scope extends Pick<Connection, 'onNotification'> {
  /** Runs one statement or, with `options`, any number, as one transaction or as part of the current one. One round trip. */
  send(statements: readonly Statement[], options?: TransactionOptions): Promise<StatementResult[]>;
  /** Inside a transaction: a savepoint. */
  transaction<T>(options: TransactionOptions, body: (scope: Scope) => Promise<T>): Promise<T>;
}

/** A connection that is acquired when it is first needed. */
export interface LazyConnection extends Pick<Connection, 'transactionStatus'> {
  /** Sends a flight. @param commits options of the transaction whose COMMIT is the flight's last statement */
  send(statements: readonly Statement[], commits?: TransactionOptions): Promise<StatementResult[]>;
}

/** A transaction, a savepoint in it, or the session around them. */
interface Level {
  /** What goes in front of the next flight: at first, what opens this level; later, what ends a savepoint in it. */
  riding: Statement[];
  /** Whether a flight has carried what opens this level. Until then the server does not know it, and nothing has to end it. */
  sent: boolean;
  /** Queries that have no answer yet. */
  pending: number;
  /** The error of its first failed flight. */
  error?: unknown;
}

/**
 * One connection: single statements, a transaction, a savepoint in that, and so on. In a transaction, N flights take N + 1
 * round trips, and no flights take none: BEGIN travels in front of the first statement, before the same Sync. If BEGIN fails,
 * the server then skips that statement, which would commit by itself if BEGIN had been sent on its own.
 */
export function connectionScope(connection: LazyConnection, statementMs: number) {
  const session: Level = { riding: [], sent: false, pending: 0 };
  /** What is open, from the outside in: the session, a transaction, savepoints. Only the innermost may be used. */
  const open = [session];
  /** Numbers the savepoints: a reused name could lead to an earlier one whose RELEASE failed, and undo that as well. */
  let savepoints = 0;
  /** Settles when the last flight has: the next has to wait for it. */
  let tail: Promise<unknown> = Promise.resolve();

  const scopeAt = (level: Level): Scope => ({
    async send(statements, options) {
      if (level === session && options) return batch(statements, options);
      assertInnermost(level, options);
      return sendFlight(level, statements);
    },
    transaction: (options, body) => transaction(level, options, body),
  });

  const batch = async (statements: readonly Statement[], options: TransactionOptions) => {
    const prologue = begin(options, statementMs);
    assertInnermost(session);
    // All of it in one turn: concurrent queries must not run into a failed transaction.
    return inTurn(async () => {
      assertInTransaction(false);
      try {
        const results = await connection.send([...prologue, ...statements, command('commit')], options);
        return results.slice(prologue.length, -1);
      } catch (error) {
        await sendWhen('TE', 'rollback');
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
      if (!level.sent) return value; // it sent nothing: its BEGIN or SAVEPOINT is not sent either
      if (isNested) outer.riding = [...level.riding, release];
      else {
        const [result] = await sendFlight(level, [command('commit')], options);
        if (result?.command !== 'COMMIT') throw rolledBack(level);
      }
      return value;
    } catch (error) {
      if (!level.sent) throw error;
      if (isNested) outer.riding = [command(`rollback to ${name}`), release];
      else {
        open.splice(1); // first: what a session sends from here on comes after the ROLLBACK
        // In turn, after flights that are still waiting: only then is it known whether BEGIN was sent.
        await inTurn(async () => level.sent && sendWhen('TE', 'rollback'));
      }
      throw error;
    } finally {
      if (open.includes(level)) open.splice(open.indexOf(level));
    }
  };

  const sendFlight = async (level: Level, statements: readonly Statement[], commits?: TransactionOptions) => {
    const top = open[1]; // the transaction itself, however deep the level is in it
    const begins = top && !top.sent;
    const flight = [...open.flatMap(takeRiding), ...statements];
    level.pending++;
    try {
      const results = await inTurn(async () => {
        if (top) assertInTransaction(top.sent && !begins, top);
        return connection.send(flight, commits);
      });
      return results.slice(flight.length - statements.length);
    } catch (error) {
      level.error ??= error;
      throw error;
    } finally {
      level.pending--;
    }
  };

  const takeRiding = (level: Level) => {
    level.sent = true;
    return level.riding.splice(0);
  };

  // A single chain without branches: V8 can follow it back to the calling code, for the stack of an error.
  const inTurn = <T>(work: () => Promise<T>) => (tail = tail.then(work, work));

  /** Sends a command if the transaction status is one of `statuses`. Never throws: the first error is the one that matters. */
  const sendWhen = async (statuses: string, text: string) => {
    if (!statuses.includes(connection.transactionStatus as string)) return;
    await connection.send([command(text)]).catch(() => {});
  };

  const assertInnermost = (level: Level, options: TransactionOptions = {}) => {
    if (modes(options)) throw misuse('A transaction is open: no options.');
    if (!open.includes(level)) throw misuse('This has ended: await its queries.');
    if (open.at(-1) !== level) throw misuse('A transaction is open: use its tx.');
  };
  /** Status E: a statement failed. If only in a savepoint, this level goes on: its next flight begins with ROLLBACK TO. */
  const assertHealthy = (level: Level) => {
    if (level.error && connection.transactionStatus === 'E') throw rolledBack(level);
  };
  const rolledBack = ({ error }: Level) =>
    misuse('A failure was caught: all is rolled back. Nest a transaction.', error);
  /** Asserts a transaction, or none: otherwise a statement would commit by itself, or run in one begun by hand. */
  const assertInTransaction = (expected: boolean, top?: Level) => {
    const { transactionStatus } = connection;
    if (!transactionStatus || expected === (transactionStatus !== 'I')) return;
    if (top) top.sent = expected; // if our BEGIN was not sent, a transaction begun by hand is not ours to end
    throw misuse('BEGIN failed, or it or COMMIT was sent by hand.', top?.error);
  };

  return {
    ...scopeAt(session),
    /** Clears the connection's state. So would closing it, but perhaps after the next session asks for the same lock. */
    async end(): Promise<void> {
      open.length = 0;
      await inTurn(async () => {
        await sendWhen('TE', 'rollback');
        await sendWhen('I', 'discard all');
      });
    },
  };
}

/** `send` over HTTP, where several statements are a transaction without a BEGIN: its options go in front of them. */
export function sendOverHttp(send: Scope['send'], statementMs: number): Scope['send'] {
  return async (statements, options) => {
    if (!options) return send(statements);
    const set = modes(options) && `set transaction ${modes(options)}`;
    const prologue = [set, timeLimit(statementMs)].filter(Boolean).map(command);
    return (await send([...prologue, ...statements], options)).slice(prologue.length);
  };
}

export const command = (text: string): Statement => ({ text, params: [] });

function begin(options: TransactionOptions, statementMs: number): Statement[] {
  return [`begin ${modes(options)}`, timeLimit(statementMs)].map(command);
}

function modes({ isolationLevel, accessMode, deferrable }: TransactionOptions): string {
  const level = isolationLevel && `isolation level ${isolationLevel}`;
  const whether = deferrable ? 'deferrable' : deferrable === false && 'not deferrable';
  return [level, accessMode, whether].filter(Boolean).join(' ');
}

/** The server's own deadline for each statement of a transaction: it holds whatever happens to the client or a proxy. */
function timeLimit(statementMs: number): string {
  return `set local statement_timeout = ${Math.ceil(statementMs)}`;
}
