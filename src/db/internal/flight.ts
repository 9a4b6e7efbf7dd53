import type { Connection as DriverConnection } from '@neondatabase/serverless';
import { misuse } from '../error.ts';
import type { Statement, StatementResult } from '../transport.ts';

/** PostgreSQL's protocol, message by message. */
export interface Protocol extends Pick<DriverConnection, 'sync' | 'end' | 'on' | 'prependListener'> {
  // The clients' own types ask for more than either client reads.
  parse(statement: { text: string }): void;
  bind(portal: { values: readonly (string | null)[] }): void;
  describe(what: { type: 'P' }): void;
  execute(): void;
  /** While corked, writes are held back to leave in one packet. The Neon driver's stream cannot cork; its WebSocket gathers. */
  stream: { cork?(): void; uncork?(): void; destroy(): void };
  ssl: unknown;
  connect(port: number, host: string): void;
  requestSsl(): void;
  cancel(processID: number | undefined, secretKey: number | undefined): void;
  attachListeners(stream: Source): void;
}

/** Where the server's bytes come from. */
interface Source {
  on(event: string, listener: Listener): unknown;
}

export type Listener = (data: unknown) => unknown;

export type Flight = ReturnType<typeof createFlight>;

/** A query, as the clients see it: they let it write its messages, and pass it the server's one by one. */
export function createFlight(statements: readonly Statement[]) {
  const { promise, resolve, reject } = Promise.withResolvers<StatementResult[]>();
  const results: StatementResult[] = [];
  let fields: StatementResult['fields'] = [];
  let rows: StatementResult['rows'] = [];
  let error: unknown;

  /** An empty query ends without a command tag. */
  const complete = ({ text = '' }: { text?: string }) => {
    const [command] = text.split(' ') as [string];
    const count = / \d+$/.exec(text);
    results.push({ command, rowCount: count && Number(count[0]), fields, rows });
    fields = [];
    rows = [];
  };

  // Typed explicitly: without TypeScript's strictBindCallApply, bind returns any.
  const then: typeof promise.then = promise.then.bind(promise);
  const flight = {
    /** True from the moment it is sent. */
    mayHaveRun: false,
    /** A promise of the results, also to tracers that follow what a client's `query` returns (Sentry's). */
    // oxlint-disable-next-line unicorn/no-thenable -- it is one, and awaited
    then,
    /** For other tracers of `pg`, which wrap this to see the query end (Datadog's throws if it is missing), and read `text`. */
    callback: reject,
    text: statements.map(({ text }) => text).join('; '),

    submit(protocol: Protocol) {
      flight.mayHaveRun = true;
      protocol.stream.cork?.();
      for (const { text, params } of statements) {
        protocol.parse({ text });
        protocol.bind({ values: params });
        protocol.describe({ type: 'P' });
        protocol.execute();
      }
      protocol.sync();
      protocol.stream.uncork?.();
    },

    /** The server's own error explains more than the broken connection does. */
    settle(broken?: unknown) {
      error ??= broken;
      // With one answer too few or too many, the next flight would get an answer that belongs to this one.
      if (!error && results.length !== statements.length) throw new Error('the server lost count');
      if (error) reject(error);
      else resolve(results);
      queueMicrotask(() => flight.callback(error)); // where it does no harm if it throws
    },

    handleRowDescription: (message: { fields: StatementResult['fields'] }) => (fields = message.fields),
    handleDataRow: (message: { fields: (string | null)[] }) => rows.push(message.fields),
    handleCommandComplete: complete,
    handleEmptyQuery: complete,
    handleError: (thrown: unknown) => (error ??= thrown),
    handleReadyForQuery: () => {}, // the connection settles the flight: after an error, the clients do not call this
    handleCopyData: () => {},

    // A COPY inside the extended protocol swallows the Sync: the connection cannot be used after it.
    handleCopyInResponse() {
      throw misuse('COPY is not supported');
    },
  };
  return flight;
}
