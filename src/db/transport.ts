import type { ConnectionTarget } from './connection-string.ts';
import type { DatabaseError } from './error.ts';

/** One SQL statement, with its parameters already in PostgreSQL's text format. */
export interface Statement {
  readonly text: string;
  readonly params: readonly (string | null)[];
}

/** The server's answer to one statement; values are text, as PostgreSQL wrote them. */
export interface StatementResult {
  /** The first word of the command tag: `SELECT`, `INSERT`, `COMMIT` … */
  command: string;
  /** Rows returned or affected; null for statements that have no count. */
  rowCount: number | null;
  fields: { name: string; dataTypeID: number }[];
  rows: (string | null)[][];
}

/** Transaction options, with drizzle's names. */
export interface TransactionOptions {
  isolationLevel?: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable' | undefined;
  accessMode?: 'read only' | 'read write' | undefined;
  deferrable?: boolean | undefined;
}

/** One request per call, and no state between calls. Throws whatever its driver throws, or the signal's reason. */
export interface HttpTransport {
  /** Runs one statement, or several as one transaction. One round trip. */
  send(target: ConnectionTarget, statements: readonly Statement[], signal: AbortSignal): Promise<StatementResult[]>;
}

/** Connections that keep state: what transactions and sessions need. */
export interface SocketTransport {
  /** Starts connecting, and accepts statements at once. Socket, TLS and authentication have `connectMs` milliseconds. */
  open(target: ConnectionTarget, connectMs: number): Connection;
}

export interface Connection {
  /**
   * Sends a flight: statements followed by one Sync. One round trip, however many there are; if one fails, the server skips
   * the rest. Settles at ReadyForQuery; the next flight has to wait for that.
   */
  send(statements: readonly Statement[]): Promise<StatementResult[]>;
  /** At ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one; undefined before, in a flight and after the end. */
  readonly transactionStatus: 'I' | 'T' | 'E' | undefined;
  /** Called for every notification on a channel that it listens to. */
  onNotification?: ((notification: { channel: string; payload: string }) => unknown) | undefined;
  /** Called when it fails, whether or not anything is waiting for an answer. */
  onFailure?: ((error: DatabaseError) => void) | undefined;
  /** Ends it: a flight in progress fails with `reason`. Settles when the server has stopped working on that. Idempotent. */
  close(reason?: Error): Promise<void>;
}

/** How long an idle connection stays open: well below the five minutes after which Neon suspends an idle database. */
export const IDLE_MS = 60_000;

/** The transports that an entry puts into its bundle. */
export interface Transports {
  http?: HttpTransport;
  websocket?: SocketTransport;
  tcp?: SocketTransport;
}

export type TransportName = keyof Transports;
