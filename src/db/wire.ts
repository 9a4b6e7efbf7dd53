import { DatabaseError, type TransportName, toDatabaseError } from './error.ts';
import type { Connection, NotificationListener, Statement, StatementResult } from './transport.ts';

/** What this file needs of a client: the Neon driver's `Client` and `pg`'s both have it. */
export interface WireClient {
  connect(): Promise<unknown>;
  end(): Promise<void>;
  query(submittable: { submit: (connection: WireProtocol) => void }): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  on(
    event: 'notification',
    listener: (notification: { channel: string; payload?: string | undefined }) => void,
  ): unknown;
}

/** The extended query protocol, as the clients' `connection` writes it. */
export interface WireProtocol {
  /** Corked, what is written in one go leaves in one packet. The Neon driver's stream cannot, and gathers by itself. */
  stream: { cork?(): void; uncork?(): void; destroy(): void };
  parse(message: { name: string; text: string; types: never[] }, more: boolean): void;
  bind(message: { values: (string | null)[] }, more: boolean): void;
  describe(message: { type: 'P'; name: string }, more: boolean): void;
  execute(message: object, more: boolean): void;
  sync(): void;
  on(event: 'readyForQuery', listener: (message: { status: 'I' | 'T' | 'E' }) => void): unknown;
  on(event: 'errorMessage', listener: (error: Error & { severity?: string | undefined }) => void): unknown;
}

/**
 * A connection over a client of the Neon driver or of `pg`, at the level of the wire protocol: whole flights instead of
 * statement by statement. It starts to connect at once; flights sent meanwhile leave together with the start-up where the
 * client allows it.
 */
export function openConnection(
  client: WireClient,
  protocol: WireProtocol,
  transport: TransportName,
  connectMs: number,
): Connection {
  const waiting: Flight[] = [];
  const listeners = new Set<NotificationListener>();
  let current: Flight | undefined;
  let started = false;
  let transactionStatus: 'I' | 'T' | 'E' = 'I';
  let failure: unknown;
  /** Whether the server answered the start-up with an error: then nothing that was sent with it has run. */
  let refused = false;
  let closed = false;

  const usable = () => failure === undefined && !closed;

  const submitNext = () => {
    current = waiting.shift();
    if (current) client.query(current);
  };

  const fail = (error: unknown) => {
    clearTimeout(timer);
    failure ??= error ?? new Error('the connection was closed');
    const lost = current ? [current, ...waiting] : [...waiting];
    current = undefined;
    waiting.length = 0;
    for (const flight of lost) flight.fail(failure, refused);
  };

  // Unlike the clients' own timer, this one covers authentication, too.
  const timer = setTimeout(() => {
    const message = `no connection to the database within ${connectMs} ms`;
    fail(new DatabaseError(message, { kind: 'timeout', transport, retryable: true }));
    protocol.stream.destroy();
  }, connectMs);

  client.on('error', fail);
  client.on('end', () => fail(undefined));
  client.on('notification', ({ channel, payload }) => {
    for (const listener of listeners) listener(channel, payload ?? '');
  });
  client.connect().catch(fail);
  // Only now: connecting with a pipelined password removes every listener of this event.
  protocol.on('readyForQuery', ({ status }) => {
    transactionStatus = status;
    if (!started) {
      started = true; // this one ends the start-up, not a flight
      clearTimeout(timer);
      return;
    }
    current?.settle();
    submitNext();
  });
  // A refused log-in, a server shutting down: nothing else will come.
  protocol.on('errorMessage', (error) => {
    if (error.severity !== 'FATAL' && error.severity !== 'PANIC') return;
    refused = !started;
    fail(error);
  });

  return {
    send(statements) {
      if (!usable()) {
        const reason = failure ?? new Error('the connection was closed');
        return Promise.reject(toDatabaseError(reason, transport, false));
      }
      return new Promise((resolve, reject) => {
        waiting.push(new Flight(statements, transport, resolve, reject));
        if (current === undefined) submitNext();
      });
    },
    get transactionStatus() {
      return transactionStatus;
    },
    get usable() {
      return usable();
    },
    onNotification(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      if (closed) return;
      closed = true;
      // Settles never when the other end is gone: nobody waits for it.
      client.end().catch(() => {});
      fail(undefined);
    },
  };
}

/**
 * Statements that go out behind one Sync. The clients hand it the server's messages one by one; it settles when the server
 * is ready again, so that whoever waited finds the transaction's status decided.
 */
class Flight {
  readonly #statements: readonly Statement[];
  readonly #transport: TransportName;
  readonly #resolve: (results: StatementResult[]) => void;
  readonly #reject: (error: DatabaseError) => void;
  readonly #results: StatementResult[] = [];
  #fields: StatementResult['fields'] = [];
  #rows: StatementResult['rows'] = [];
  #submitted = false;
  #error: unknown;

  constructor(
    statements: readonly Statement[],
    transport: TransportName,
    resolve: (results: StatementResult[]) => void,
    reject: (error: DatabaseError) => void,
  ) {
    this.#statements = statements;
    this.#transport = transport;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(protocol: WireProtocol): void {
    this.#submitted = true;
    protocol.stream.cork?.();
    for (const { text, params } of this.#statements) {
      protocol.parse({ name: '', text, types: [] }, true);
      protocol.bind({ values: [...params] }, true);
      protocol.describe({ type: 'P', name: '' }, true);
      protocol.execute({}, true);
    }
    protocol.sync();
    protocol.stream.uncork?.();
  }

  settle(): void {
    if (this.#error === undefined) this.#resolve(this.#results);
    else this.#reject(toDatabaseError(this.#error, this.#transport, true));
  }

  /** The connection broke: what the server said before is the better explanation, if it said anything. */
  fail(error: unknown, refused: boolean): void {
    this.#reject(toDatabaseError(this.#error ?? error, this.#transport, this.#submitted && !refused));
  }

  handleRowDescription({ fields }: { fields: StatementResult['fields'] }): void {
    this.#fields = fields;
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    this.#rows.push(fields);
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.#complete(text);
  }

  handleEmptyQuery(): void {
    this.#complete('');
  }

  handleError(error: unknown): void {
    this.#error ??= error;
  }

  // A COPY inside the extended protocol swallows the Sync: the connection cannot be used after it.
  handleCopyInResponse(protocol: WireProtocol): void {
    this.#error = new DatabaseError('COPY is not supported here: use INSERT, or a tool such as psql', {
      kind: 'query',
      transport: this.#transport,
    });
    protocol.stream.destroy();
  }

  handleCopyData(): void {}
  handlePortalSuspended(): void {}
  handleReadyForQuery(): void {}

  #complete(tag: string): void {
    const [command = ''] = tag.split(' ');
    const count = /\d+$/.exec(tag)?.[0];
    this.#results.push({
      command,
      rowCount: count === undefined ? null : Number(count),
      fields: this.#fields,
      rows: this.#rows,
    });
    this.#fields = [];
    this.#rows = [];
  }
}
