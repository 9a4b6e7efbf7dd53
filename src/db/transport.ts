import type { ConnectionTarget } from './connection-string.ts';

/** One SQL statement, its parameters already in PostgreSQL's text format. */
export interface Statement {
  readonly text: string;
  readonly params: readonly (string | null)[];
}

/** What the server said about one statement; values are text, as PostgreSQL wrote them. */
export interface StatementResult {
  /** The first word of the command tag: `SELECT`, `INSERT`, `COMMIT` … */
  command: string;
  rowCount: number | null;
  fields: { name: string; dataTypeID: number }[];
  rows: (string | null)[][];
}

/** The options of a transaction, under drizzle's names. */
export interface TransactionOptions {
  isolationLevel?: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable' | undefined;
  accessMode?: 'read only' | 'read write' | undefined;
  deferrable?: boolean | undefined;
}

/** Deadlines in milliseconds; what passes one fails with kind `timeout`. */
export interface Timeouts {
  /** Until a socket is usable: connection, TLS and authentication. */
  connectMs: number;
  /** For an HTTP request, connection included. */
  httpMs: number;
}

/** One request for each call, and no state between them. */
export interface HttpTransport {
  readonly name: 'http';
  /** Runs one statement. One round trip. */
  query(target: ConnectionTarget, statement: Statement, signal: AbortSignal): Promise<StatementResult>;
  /** Runs statements as one transaction. One round trip. */
  batch(
    target: ConnectionTarget,
    statements: readonly Statement[],
    options: TransactionOptions,
    signal: AbortSignal,
  ): Promise<StatementResult[]>;
}

/** Connections that keep state: what transactions and sessions need. */
export interface SocketTransport {
  readonly name: 'websocket' | 'tcp';
  /**
   * Starts to connect and returns at once: statements may be sent before the connection is ready.
   * @param connectMs milliseconds for everything until it is: socket, TLS, authentication
   */
  open(target: ConnectionTarget, connectMs: number): Connection;
}

export type NotificationListener = (channel: string, payload: string) => void;

export interface Connection {
  /**
   * Sends statements in one flight, ended by one Sync: one round trip, whatever their number. When one fails, the server
   * skips those behind it. Settles when the server is ready for the next flight; flights wait for each other.
   */
  send: (statements: readonly Statement[]) => Promise<StatementResult[]>;
  /** As the server last said: `I` idle, `T` in a transaction, `E` in a failed one. */
  readonly transactionStatus: 'I' | 'T' | 'E';
  /** False once the connection has failed or was closed. */
  readonly usable: boolean;
  /** @returns what ends it */
  onNotification(listener: NotificationListener): () => void;
  /** Ends the connection; what still waits for an answer fails. Idempotent. */
  close(): void;
}

/** The transports that an entry puts into its bundle. */
export interface Transports {
  http?: HttpTransport;
  websocket?: SocketTransport;
  tcp?: SocketTransport;
}
