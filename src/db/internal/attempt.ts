import type { Operation } from '../choose-transport.ts';
import { commitFailure, type DatabaseError, toDatabaseError } from '../error.ts';
import type { QueryEvent, RequestScope, Timeouts } from '../options.ts';
import type { StatementResult, TransactionOptions, TransportName } from '../transport.ts';
import { createDeadline } from './deadline.ts';

/** Milliseconds that the client waits longer than the server, whose own answer tells what became of the statement. */
const GRACE_MS = 1_000;

export interface Plan extends Timeouts {
  operation: Operation;
  transport: TransportName;
  /** Whether all of it may run twice: it is marked as a read. */
  readOnly: boolean;
}

export type Attempt = ReturnType<typeof createAttempt>;

/** One try of an operation: its deadline, and its exchanges with the server. */
export function createAttempt(
  { operation, transport, statementMs }: Plan,
  { signal, onQuery }: RequestScope,
  timeLeft: () => number,
) {
  const deadline = createDeadline(signal, transport);
  const attempt = {
    ...deadline,
    /** Whether an exchange has run, or may have: nothing tells that it did not. */
    hasRun: false,
    /** The errors of its own exchanges. */
    failures: new WeakSet<DatabaseError>(),

    /**
     * Runs one exchange with the server within its limit, and reports it. Sends nothing once the deadline has passed.
     * @param commits options of the transaction whose COMMIT is the last statement
     */
    exchange: async (flight: () => Promise<StatementResult[]>, commits?: TransactionOptions) => {
      // In a process that was frozen or busy, the deadline's timer may not have fired yet: this waits for it.
      if (operation !== 'session' && timeLeft() < 0) await deadline.race(new Promise(() => {}));
      deadline.signal.throwIfAborted(); // outside the `try`: the outcome of a COMMIT that was not sent is known
      const start = performance.now();
      const event: QueryEvent = { operation, transport, roundTrips: 1, rows: 0, ms: 0 };
      try {
        const results = await deadline.limit('A statement', statementMs, flight, statementMs + GRACE_MS);
        for (const { command, rowCount } of results) {
          event.rows += rowCount ?? 0;
          attempt.hasRun ||= !/ROLL|DISC/.test(command); // ROLLBACK and DISCARD only tidy up
        }
        return results;
      } catch (thrown) {
        const error = toDatabaseError(thrown, transport, true);
        event.error = error.code ?? error.kind;
        attempt.failures.add(error);
        Error.captureStackTrace(error); // from here, ten lines reach who asked for the transaction
        const failure = commitFailure(error, commits?.accessMode);
        attempt.hasRun ||= failure !== error;
        if (!commits) throw error;
        if (failure !== error) deadline.fail(failure); // a session ends with this, whatever its callback still does
        throw failure;
      } finally {
        event.ms = performance.now() - start;
        // An observer must not change the outcome, neither by throwing nor by rejecting.
        if (onQuery) (async () => onQuery(event))().catch(() => {});
      }
    },
  };
  return attempt;
}
