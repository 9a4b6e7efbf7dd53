import { DatabaseError, type TransportName, toDatabaseError } from './error.ts';
import type { Connection, Statement, StatementResult } from './transport.ts';

/** What this file needs of a client: the Neon driver's `Client` and `pg`'s both have it. */
export interface WireClient {
  /** A `WireProtocol`, of which their types declare a part. */
  connection: object;
  connect(): Promise<unknown>;
  end(): Promise<void>;
  query(flight: { submit: (protocol: WireProtocol) => void }): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown;
}

/** PostgreSQL's protocol, message by message, as the clients' `connection` reads and writes it. */
interface WireProtocol {
  /** Corked, what is written in one go leaves in one packet. The Neon driver's stream cannot, and gathers by itself. */
  stream: { cork?(): void; uncork?(): void; destroy(): void };
  ssl: unknown;
  connect(port: number, host: string): void;
  requestSsl(): void;
  cancel(processID: number, secretKey: number): void;
  parse(message: { name: string; text: string; types: never[] }, more: boolean): void;
  bind(message: { values: (string | null)[] }, more: boolean): void;
  describe(message: { type: 'P'; name: string }, more: boolean): void;
  execute(message: object, more: boolean): void;
  sync(): void;
  on(event: 'connect' | 'sslconnect' | 'end' | 'error', listener: () => void): unknown;
  on(event: 'backendKeyData', listener: (key: BackendKey) => void): unknown;
  on(event: 'readyForQuery', listener: (message: { status: 'I' | 'T' | 'E' }) => void): unknown;
  on(event: 'errorMessage', listener: (error: Error & { severity?: string | undefined }) => void): unknown;
}

/** By which the server knows whose statement a CancelRequest means. */
interface BackendKey {
  processID: number;
  secretKey: number;
}

interface Address {
  host: string;
  port: number;
  /** Milliseconds for everything until a connection is usable. */
  connectMs: number;
}

/**
 * A connection over a client of the Neon driver or of `pg`, at the level of the wire protocol: whole flights instead of
 * statement by statement. It starts to connect at once; flights sent meanwhile leave together with the start-up where the
 * client allows it.
 */
export function openConnection(
  createClient: () => WireClient,
  transport: TransportName,
  { host, port, connectMs }: Address,
): Connection {
  const client = createClient();
  const protocol = client.connection as WireProtocol;
  const waiting: Flight[] = [];
  let current: Flight | undefined;
  let backendKey: BackendKey | undefined;
  let transactionStatus: 'I' | 'T' | 'E' = 'I';
  let started = false;
  let failure: unknown;
  /** Whether the server answered the start-up with an error: then nothing that was sent with it has run. */
  let refused = false;
  let closing: Promise<void> | undefined;

  const submitNext = () => {
    current = waiting.shift();
    if (current) client.query(current);
  };

  const fail = (reason: unknown) => {
    clearTimeout(timer);
    failure ??= reason ?? new Error('the connection was closed');
    for (const flight of current ? [current, ...waiting.splice(0)] : waiting.splice(0)) flight.fail(failure, refused);
    current = undefined;
  };

  /** Asks the server, over a connection of its own, to stop what runs on this one. Settles when it has been asked. */
  const cancel = ({ processID, secretKey }: BackendKey) =>
    new Promise<void>((resolve) => {
      const other = createClient().connection as WireProtocol;
      const giveUp = setTimeout(() => other.stream.destroy(), connectMs);
      const request = () => other.cancel(processID, secretKey);
      other.on('connect', () => (other.ssl ? other.requestSsl() : request()));
      other.on('sslconnect', request);
      for (const event of ['end', 'error'] as const) other.on(event, () => resolve(clearTimeout(giveUp)));
      other.connect(port, host);
    });

  // Unlike the clients' own timer, this one covers authentication, too.
  const timer = setTimeout(() => {
    const message = `no connection to the database within ${connectMs} ms`;
    fail(new DatabaseError(message, { kind: 'timeout', transport, retryable: true }));
    protocol.stream.destroy();
  }, connectMs);

  client.on('error', fail);
  client.on('end', () => fail(undefined));
  client.on('notification', ({ channel, payload }) => connection.onNotification?.(channel, payload ?? ''));
  client.connect().catch(fail);
  protocol.on('backendKeyData', (key) => (backendKey = key));
  // Only now: connecting with a pipelined password removes every listener of this event.
  protocol.on('readyForQuery', ({ status }) => {
    transactionStatus = status;
    clearTimeout(timer);
    // The first one ends the start-up, the others a flight each.
    if (started) {
      current?.settle();
      submitNext();
    }
    started = true;
  });
  // A refused log-in, a server shutting down: nothing else will come.
  protocol.on('errorMessage', (error) => {
    if (error.severity !== 'FATAL' && error.severity !== 'PANIC') return;
    refused = !started;
    fail(error);
  });

  const connection: Connection = {
    send(statements) {
      if (failure !== undefined) return Promise.reject(toDatabaseError(failure, transport, false));
      const flight = createFlight(statements, transport);
      waiting.push(flight);
      if (current === undefined) submitNext();
      return flight.result;
    },
    get transactionStatus() {
      return transactionStatus;
    },
    get usable() {
      return failure === undefined;
    },
    onNotification: undefined,
    close(reason) {
      const running = current !== undefined && backendKey;
      fail(reason);
      // What runs is stopped before the socket goes: a proxy may forget the key together with the socket.
      if (running) closing ??= cancel(running).then(() => protocol.stream.destroy());
      // Ending settles never when the other end is gone: nobody waits for it.
      else if (!closing) client.end().catch(() => {});
      return (closing ??= Promise.resolve());
    },
  };
  return connection;
}

type Flight = ReturnType<typeof createFlight>;

/**
 * Statements that go out behind one Sync. The clients hand it the server's messages one by one; it settles when the server
 * is ready again, so that whoever waited finds the transaction's status decided.
 */
function createFlight(statements: readonly Statement[], transport: TransportName) {
  const { promise, resolve, reject } = Promise.withResolvers<StatementResult[]>();
  const results: StatementResult[] = [];
  let fields: StatementResult['fields'] = [];
  let rows: StatementResult['rows'] = [];
  let submitted = false;
  let error: unknown;

  const complete = (tag: string) => {
    const [command = ''] = tag.split(' ');
    const count = /\d+$/.exec(tag)?.[0];
    results.push({ command, rowCount: count === undefined ? null : Number(count), fields, rows });
    fields = [];
    rows = [];
  };

  return {
    result: promise,

    submit(protocol: WireProtocol) {
      submitted = true;
      protocol.stream.cork?.();
      for (const { text, params } of statements) {
        protocol.parse({ name: '', text, types: [] }, true);
        protocol.bind({ values: [...params] }, true);
        protocol.describe({ type: 'P', name: '' }, true);
        protocol.execute({}, true);
      }
      protocol.sync();
      protocol.stream.uncork?.();
    },

    settle() {
      if (error === undefined) resolve(results);
      else reject(toDatabaseError(error, transport, true));
    },

    /** The connection broke: what the server said before is the better explanation, if it said anything. */
    fail(reason: unknown, refused: boolean) {
      reject(toDatabaseError(error ?? reason, transport, submitted && !refused));
    },

    handleRowDescription: (message: { fields: StatementResult['fields'] }) => (fields = message.fields),
    handleDataRow: (message: { fields: (string | null)[] }) => rows.push(message.fields),
    handleCommandComplete: ({ text }: { text: string }) => complete(text),
    handleEmptyQuery: () => complete(''),
    handleError: (thrown: unknown) => (error ??= thrown),
    handleReadyForQuery: () => {},

    // A COPY inside the extended protocol swallows the Sync: the connection cannot be used after it.
    handleCopyInResponse(protocol: WireProtocol) {
      const message = 'COPY is not supported here: use INSERT, or a tool such as psql';
      error = new DatabaseError(message, { kind: 'query', transport });
      protocol.stream.destroy();
    },
    handleCopyData: () => {},
    handlePortalSuspended: () => {},
  };
}
