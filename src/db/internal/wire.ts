import type { Connection as DriverConnection } from '@neondatabase/serverless';
import type { ConnectionTarget } from '../connection-string.ts';
import { DatabaseError, misuse, type TransportName, toDatabaseError } from '../error.ts';
import type { Connection, Statement, StatementResult } from '../transport.ts';

/** What this file needs of a client: the Neon driver's `Client` and `pg`'s both have it. */
export interface WireClient {
  /** A `Protocol`, of which their types declare a part. */
  connection: object;
  /** What it says of itself in the start-up. Neither has this, or what follows, in its types. */
  getStartupConf?: () => object;
  /** By which the server knows whose statement a CancelRequest means. */
  processID?: number;
  secretKey?: number;
  connect(): Promise<unknown>;
  query(flight: { submit(protocol: Protocol): void }): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

/** PostgreSQL's protocol, message by message. */
interface Protocol extends Pick<DriverConnection, 'sync' | 'end' | 'on' | 'prependListener'> {
  // Their types ask for more than either client reads.
  parse(statement: { text: string }): void;
  bind(portal: { values: readonly (string | null)[] }): void;
  describe(what: { type: 'P' }): void;
  execute(): void;
  /** Corked, what is written in one go leaves in one packet. The Neon driver's stream cannot, and gathers by itself. */
  stream: { cork?(): void; uncork?(): void; destroy(): void };
  ssl: unknown;
  connect(port: number, host: string): void;
  requestSsl(): void;
  cancel(processID: number | undefined, secretKey: number | undefined): void;
  attachListeners(stream: Source): void;
}

/** Where the server's bytes come from. */
interface Source {
  on(event: string, listener: (data: unknown) => void): unknown;
}

/** A connection over a client of the Neon driver or of `pg`. What is sent at once leaves with the start-up where it can. */
export function openConnection(
  transport: TransportName,
  createClient: () => WireClient,
  target: ConnectionTarget,
  connectMs: number,
): Connection {
  const client = createClient();
  const protocol = client.connection as Protocol;
  /** What the server has not ended, even when nobody waits for it any more. */
  let flight: Flight | undefined;
  /** Undefined until the end of the start-up. */
  let status: Connection['transactionStatus'];
  let failure: Partial<Error> | undefined;
  let closing: Promise<void> | undefined;

  const connection: Connection = {
    get transactionStatus() {
      // In a flight, whoever has given up on it (a tracer, `query_timeout`), it is about to change.
      return failure || flight ? undefined : status;
    },

    async send(statements) {
      if (failure) throw toDatabaseError(failure, transport, false);
      const sent = createFlight(statements);
      flight = sent;
      sent.results.catch(() => {}); // a tracer may throw, and nobody wait for them
      client.query(sent);
      try {
        return await sent.results;
      } catch (error) {
        throw toDatabaseError(error, transport, sent.mayHaveRun);
      }
    },

    close: (reason) => (closing ??= shutDown(reason)),
  };

  /** Asks the server, over a connection of its own, to stop what runs on this one. False when it says nothing. */
  const cancel = async () => {
    const asking = createClient().connection as Protocol;
    const request = () => asking.cancel(client.processID, client.secretKey);
    const { promise: answered, resolve } = Promise.withResolvers<boolean>();
    asking.on('connect', asking.ssl ? () => asking.requestSsl() : request);
    asking.on('sslconnect', request);
    // Whatever it says: the client could throw at it.
    asking.attachListeners = (stream) => stream.on('data', () => resolve(true));
    asking.on('end', () => resolve(true));
    asking.on('error', () => resolve(true));
    asking.connect(target.port, target.host);
    // A WebSocket whose other end is gone does not even end.
    const giveUp = setTimeout(resolve, connectMs, false);
    await answered;
    clearTimeout(giveUp);
    asking.stream.destroy();
    return answered;
  };

  const shutDown = async (reason?: Error) => {
    connection.onFailure = undefined;
    if (failure) return protocol.stream.destroy();
    if (status || !reason) fail(reason);
    else expire(reason.message, reason.cause);
    const isIdle = status && !flight;
    if (isIdle) protocol.end(); // which leaves the Neon driver's socket open
    else await stop();
    // Before the start-up's end a flight may still wait to be sent: it must not be.
    protocol.stream.destroy();
  };

  /** What runs is stopped before the socket goes: a proxy may forget the key together with the socket. */
  const stop = async () => {
    // The request may overtake the statement it is about, and is repeated until that has ended.
    for (let ms = 50; ms < 1_000; ms *= 2) {
      if (!flight?.mayHaveRun) break;
      if (client.processID && !(await cancel())) break;
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  };

  const fail = (reason?: Partial<Error>) => {
    clearTimeout(timer);
    if (failure) return;
    // The event of a WebSocket that failed says nothing.
    failure = reason?.message ? reason : { message: `the connection to ${target.host}:${target.port} failed` };
    flight?.settle(failure);
    connection.onFailure?.(toDatabaseError(failure, transport, !!(status ?? flight?.mayHaveRun)));
  };

  /** Before the end of the start-up: nothing has run that did not leave with it. */
  const expire = (message: string, cause?: unknown) =>
    fail(new DatabaseError(message, { kind: 'timeout', transport, retryable: !flight?.mayHaveRun, cause }));

  // Unlike the clients' own timer, this one covers authentication, too.
  const timer = setTimeout(() => {
    expire(`Connecting took more than ${connectMs} ms.`);
    protocol.stream.destroy();
  }, connectMs);

  // What the URL says and nothing else: the clients would add PGOPTIONS and the like from the environment.
  client.getStartupConf = () => ({ user: target.user, database: target.database });
  // The clients throw at what they do not expect, a log-in by GSSAPI among it, where nobody else could catch it.
  const attach = protocol.attachListeners.bind(protocol);
  protocol.attachListeners = (stream) =>
    attach({
      on: (event, listener) =>
        stream.on(event, (data) => {
          try {
            listener(data);
          } catch (error) {
            fail(error as Error);
          }
        }),
    });
  client.on('error', fail);
  client.on('end', () => {
    fail();
    flight = undefined;
  });
  client.connect().catch(fail);
  // Only now: connecting with a pipelined password removes every listener of this event.
  // Ahead of the client's own, which sends the next query: what has been sent until now is what this answers.
  protocol.prependListener('readyForQuery', (message: { status: typeof status }) => {
    clearTimeout(timer);
    // The first one ends the start-up, and no flight; nor does one that answers what a tracer of `pg` has sent before it.
    if (flight?.mayHaveRun && status) {
      if (!failure) flight.settle();
      flight = undefined;
    }
    status = message.status;
  });
  protocol.on('notification', (notification) => connection.onNotification?.(notification));
  // A refused log-in, which Neon's proxy calls an ERROR; a server shutting down: nothing else will come.
  protocol.on('errorMessage', (error: Error & { severity?: string; code?: string }) => {
    if (status && error.severity !== 'FATAL') return;
    // In answer to the start-up, nothing has run of what was sent with it; nor, from an idle_session_timeout on, of any flight.
    if (flight && (!status || error.code === '57P05')) flight.mayHaveRun = false;
    fail(error);
  });

  return connection;
}

type Flight = ReturnType<typeof createFlight>;

/** A query, as the clients see it: they have it write its messages, and hand it the server's one by one. */
function createFlight(statements: readonly Statement[]) {
  const { promise, resolve, reject } = Promise.withResolvers<StatementResult[]>();
  const results: StatementResult[] = [];
  let fields: StatementResult['fields'] = [];
  let rows: StatementResult['rows'] = [];
  let error: unknown;

  /** An empty query ends without a command tag. */
  const complete = ({ text = '' }: { text?: string }) => {
    const [command] = text.split(' ') as [string];
    const count = /\d+$/.exec(text);
    results.push({ command, rowCount: count && Number(count[0]), fields, rows });
    fields = [];
    rows = [];
  };

  const flight = {
    mayHaveRun: false,
    results: promise,
    /** Tracers of `pg` read a query's text, and wrap the callback that tells its end: without one, Datadog's throws. */
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

    /** What the server said is a better explanation than that it says no more. */
    settle(broken?: unknown) {
      error ??= broken;
      // One answer too few or too many, and the next flight would be given what answers this one.
      if (!error && results.length !== statements.length) throw new Error('the server lost count');
      if (error) reject(error);
      else resolve(results);
      queueMicrotask(() => flight.callback(error)); // where it harms nothing should it throw
    },

    handleRowDescription: (message: { fields: StatementResult['fields'] }) => (fields = message.fields),
    handleDataRow: (message: { fields: (string | null)[] }) => rows.push(message.fields),
    handleCommandComplete: complete,
    handleEmptyQuery: complete,
    handleError: (thrown: unknown) => (error ??= thrown),
    handleReadyForQuery: () => {}, // after an error the clients do not call it
    handleCopyData: () => {},

    // A COPY inside the extended protocol swallows the Sync: the connection cannot be used after it.
    handleCopyInResponse() {
      throw misuse('COPY is not supported');
    },
  };
  return flight;
}
