import type { ConnectionTarget } from '../connection-string.ts';
import { DatabaseError, toDatabaseError } from '../error.ts';
import type { Connection, TransportName } from '../transport.ts';
import { createFlight, type Flight, type Listener, type Protocol } from './flight.ts';

/** What this file needs of a client: the Neon driver's `Client` and `pg`'s both have it. */
export interface WireClient {
  /** A `Protocol`, of which the clients' types declare only a part. */
  connection: object;
  /** The parameters of the start-up message. Neither client's types declare this or the optional members below. */
  getStartupConf?: () => object;
  /** Answers a SCRAM challenge. */
  _handleAuthSASLContinue?: Listener;
  /** With these a CancelRequest tells the server whose statement to cancel. */
  processID?: number;
  secretKey?: number;
  connect(): Promise<unknown>;
  query(flight: { submit(protocol: Protocol): void }): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

/** A connection over a client of the Neon driver or of `pg`. What is sent at once travels with the start-up where possible. */
export function openConnection(
  transport: TransportName,
  createClient: () => WireClient,
  target: ConnectionTarget,
  connectMs: number,
): Connection {
  const client = createClient();
  const protocol = client.connection as Protocol;
  /** The one that the server has not finished, whether or not anything is still waiting for it. */
  let flight: Flight | undefined;
  /** Undefined until the end of the start-up. */
  let status: Connection['transactionStatus'];
  let failure: Partial<Error> | undefined;
  let closing: Promise<void> | undefined;

  const connection: Connection = {
    get transactionStatus() {
      // During a flight the status is about to change, even if the client gave up on the flight (a tracer, `query_timeout`).
      return failure || flight ? undefined : status;
    },

    async send(statements) {
      if (failure) throw toDatabaseError(failure, transport, false);
      const sent = createFlight(statements);
      flight = sent;
      // A tracer may throw, and then nothing awaits the flight; or return a promise of its own, which nothing awaits.
      Promise.resolve(sent).catch(() => {});
      Promise.resolve(client.query(sent)).catch(() => {});
      try {
        return await sent;
      } catch (error) {
        throw toDatabaseError(error, transport, sent.mayHaveRun);
      }
    },

    close: (reason) => (closing ??= shutDown(reason)),
  };

  /** Sends a CancelRequest, over a connection of its own. False if the server does not answer. */
  const cancel = async () => {
    const other = createClient().connection as Protocol;
    const request = () => other.cancel(client.processID, client.secretKey);
    const { promise: answered, resolve } = Promise.withResolvers<boolean>();
    other.on('connect', other.ssl ? () => other.requestSsl() : request);
    other.on('sslconnect', request);
    // Replaces the client's own, which could throw at what comes. Whatever it is, it is an answer.
    other.attachListeners = (stream) => stream.on('data', () => resolve(true));
    other.on('end', () => resolve(true));
    other.on('error', () => resolve(true));
    other.connect(target.port, target.host);
    // If the other end is gone, a WebSocket may never report that it has closed.
    const giveUp = setTimeout(resolve, connectMs, false);
    await answered;
    clearTimeout(giveUp);
    other.stream.destroy();
    return answered;
  };

  const shutDown = async (reason?: Error) => {
    connection.onFailure = undefined;
    if (failure) return protocol.stream.destroy();
    if (status || !reason) fail(reason);
    else expire(reason.message, reason.cause);
    if (flight) await stop();
    else protocol.end();
    // `end` leaves the Neon driver's socket open; and a flight that is still waiting for the start-up must not be sent.
    protocol.stream.destroy();
  };

  /** Stops what is running before the socket closes: a proxy may forget the secret key along with the socket. */
  const stop = async () => {
    // The request may overtake the statement that it is to cancel: it is repeated until that has ended.
    for (let ms = 50; ms < 1_000; ms *= 2) {
      if (!flight?.mayHaveRun) break;
      if (client.processID && !(await cancel())) break;
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  };

  const fail = (reason?: Partial<Error>) => {
    clearTimeout(timer);
    if (failure) return;
    // The error event of a WebSocket says nothing.
    failure = reason?.message ? reason : { message: `the connection to ${target.host}:${target.port} failed` };
    flight?.settle(failure);
    connection.onFailure?.(toDatabaseError(failure, transport, !!status || !!flight?.mayHaveRun));
  };

  /** Fails before the end of the start-up, when nothing can have run but what was sent along with it. */
  const expire = (message: string, cause?: unknown) =>
    fail(new DatabaseError(message, { kind: 'timeout', transport, retryable: !flight?.mayHaveRun, cause }));

  // Unlike the clients' own timer, this one also covers authentication.
  const timer = setTimeout(() => {
    expire(`Connecting took more than ${connectMs} ms.`);
    protocol.stream.destroy();
  }, connectMs);

  // Only what the URL says: the clients would add PGOPTIONS and the like from the environment.
  client.getStartupConf = () => ({ user: target.user, database: target.database });
  // On unexpected messages, such as a request for GSSAPI, the clients throw where nothing else could catch it; on a bad SCRAM
  // challenge, the Neon driver rejects a promise that it does not await.
  const guard = (listener: Listener) => async (data: unknown) => {
    try {
      await listener(data);
    } catch (error) {
      fail(error as Error);
    }
  };
  const attach = protocol.attachListeners.bind(protocol);
  protocol.attachListeners = (stream) => attach({ on: (event, listener) => stream.on(event, guard(listener)) });
  client._handleAuthSASLContinue = guard(client._handleAuthSASLContinue?.bind(client) as Listener);
  client.on('error', fail);
  client.on('end', () => {
    fail();
    flight = undefined;
  });
  client.connect().catch(fail);
  // Only now: connecting with a pipelined password removes every listener of this event. Ahead of the client's own, which
  // sends the next query: this message answers only what was sent before that.
  protocol.prependListener('readyForQuery', (message: { status: typeof status }) => {
    clearTimeout(timer);
    // Two kinds end no flight: the first, which ends the start-up, and one that answers what a tracer of `pg` sent before it.
    if (flight?.mayHaveRun && status) {
      if (!failure) flight.settle();
      flight = undefined;
    }
    status = message.status;
  });
  protocol.on('notification', (notification) => connection.onNotification?.(notification));
  // Nothing follows a refused log-in, which Neon's proxy reports as an ERROR, or the shutdown of a server.
  protocol.on('errorMessage', (error: Error & { severity?: string; code?: string }) => {
    if (status && error.severity !== 'FATAL') return;
    // What was sent with a refused log-in has not run; nor has a flight that crossed an idle_session_timeout on its way.
    if (flight && (!status || error.code === '57P05')) flight.mayHaveRun = false;
    fail(error);
  });

  return connection;
}
