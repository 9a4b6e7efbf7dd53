import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { CONNECT_DEADLINE, connectUpstream, type Upstream } from './gateway-upstream.ts';
import { IS_SUPERUSER, LOCAL_CLIENT, SUPERUSER_REFUSED } from './pg-client.ts';
import {
  int32,
  message,
  type Parameters,
  ProtocolError,
  query,
  readMessage,
  startupMessage,
  typeOf,
} from './postgres-messages.ts';
import { splitMessages } from './split-messages.ts';

/** Why a client is refused, as PostgreSQL would say it. */
export class Refusal extends Error {
  readonly code: string;
  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

/** Ends a client's connection with a last message. Reads, and discards, what it still sends: otherwise it would stay open. */
export function hangUp(client: Duplex, last?: Buffer): void {
  client.end(last);
  client.resume();
}

/** A connection to the server that is logged in and idle. */
export interface LoggedIn {
  socket: Socket;
  /** What the client is to be sent: AuthenticationOk, the server's parameters, the key, ReadyForQuery. */
  greeting: Buffer;
  /** The process id and the secret: what cancels a query. */
  key: Buffer;
}

/** AuthenticationOk, and the requests that the client answers with a message of its own. */
const OK = 0;
const ASKING = new Set([3, 5, 10, 11]);

/**
 * Logs in with a password.
 * @throws {pg.DatabaseError} what the server says
 * @throws {Refusal} for a wrong password, in the words of Neon's proxy, and for a superuser
 */
export async function logIn(upstream: Upstream, parameters: Parameters, password: string): Promise<LoggedIn> {
  const { host, port, tls = false } = upstream;
  const { user = '' } = parameters;
  // Neon's proxy checks passwords itself, and says so in words of its own: the server's may be in another language.
  const wrongPassword = new Refusal('28P01', `password authentication failed for user '${user}'`);
  if (password === '') throw wrongPassword; // `pg` has a message of its own for that
  const client = new pg.Client({
    ...LOCAL_CLIENT,
    host,
    port,
    ssl: tls,
    user,
    password,
    connectionTimeoutMillis: CONNECT_DEADLINE,
    query_timeout: CONNECT_DEADLINE,
  });
  client.on('error', () => {});
  const { connection } = Object.assign(client as unknown as PgInternals, { getStartupConf: () => parameters });
  catchOnData(connection);
  const said: Buffer[] = [message('R', int32(OK))];
  let key: Buffer = int32(0, 0);
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    said.push(message('S', `${parameterName}\0${parameterValue}\0`));
  });
  connection.on('backendKeyData', ({ processID, secretKey }) => {
    key = int32(processID, secretKey);
    said.push(message('K', key));
  });
  try {
    await client.connect();
    if ((await client.query(IS_SUPERUSER)).rowCount !== 0) throw new Refusal('28000', SUPERUSER_REFUSED);
  } catch (error) {
    connection.stream.destroy(); // a server that reports an error need not close the connection
    throw (error as Partial<pg.DatabaseError>).code === wrongPassword.code ? wrongPassword : error;
  }
  const socket = connection.stream;
  socket.pause();
  for (const event of ['data', 'end', 'close'] as const) socket.removeAllListeners(event);
  said.push(message('Z', 'I'));
  return { socket, greeting: Buffer.concat(said), key };
}

/**
 * If the server sends what no PostgreSQL would, `pg` throws on arrival, where nothing would catch it; and in an error or notice
 * without a terminator, it searches for one forever.
 */
function catchOnData(connection: PgInternals['connection']): void {
  const attachListeners = connection.attachListeners.bind(connection);
  connection.attachListeners = (stream) => {
    attachListeners(stream);
    const listeners = stream.listeners('data');
    const check = splitMessages({
      watched: 'EN',
      onMessage(_type, message) {
        if (message.readUInt16BE(message.length - 2) !== 0) throw new ProtocolError('a message without an end');
      },
    });
    stream.removeAllListeners('data').on('data', (chunk: Buffer) => {
      try {
        check(chunk);
        for (const listener of listeners) listener.call(stream, chunk);
      } catch (error) {
        stream.destroy(error as Error);
      }
    });
  };
}

/** What `pg` does not declare. */
interface PgInternals {
  getStartupConf(): Parameters;
  connection: {
    stream: Socket;
    attachListeners(stream: Socket): void;
    on(event: 'parameterStatus', listener: (message: { parameterName: string; parameterValue: string }) => void): void;
    on(event: 'backendKeyData', listener: (message: { processID: number; secretKey: number }) => void): void;
  };
}

/**
 * Relays authentication between the client and the server, end to end: the gateway does not see the password.
 * @returns undefined when the server refused, as the client has been told
 * @throws {Refusal} for a superuser
 * @throws {ProtocolError} when either end disconnects
 */
export async function passLogIn(
  client: Duplex,
  upstream: Upstream,
  version: number,
  parameters: Parameters,
): Promise<LoggedIn | undefined> {
  const socket = await connectUpstream(upstream);
  const destroy = () => socket.destroy();
  client.once('close', destroy);
  try {
    socket.write(startupMessage(parameters, version));
    const said: Buffer[] = [];
    let key: Buffer = int32(0, 0);
    const refuse = (error: Buffer): undefined => {
      hangUp(client, error);
      socket.destroy();
    };
    for (let type = ''; type !== 'Z';) {
      const next = await readMessage(socket);
      type = typeOf(next);
      if (type === 'K') key = next.subarray(5);
      if (type === 'E') return refuse(next);
      // The client is told of its success only at the end: the server may still refuse the database, the gateway the role.
      const accepted = said.length > 0 || (type === 'R' && next.readInt32BE(5) === OK);
      if (accepted) said.push(next);
      else await pass(next, client, socket);
    }
    // Asks about the role that logged in, whatever the start-up message set. Nothing of the client's has run yet.
    socket.write(query(IS_SUPERUSER));
    for (let type = ''; type !== 'Z';) {
      const next = await readMessage(socket);
      type = typeOf(next);
      if (type === 'D') throw new Refusal('28000', SUPERUSER_REFUSED);
      if (type === 'E') return refuse(next); // a server that is shutting down; a pooler without a connection to it
    }
    return { socket, greeting: Buffer.concat(said), key };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    client.off('close', destroy);
  }
}

/** Passes the server's request to the client, and the client's answer, but nothing else it may have sent, to the server. */
async function pass(request: Buffer, client: Duplex, server: Socket): Promise<void> {
  client.write(request);
  if (typeOf(request) !== 'R' || !ASKING.has(request.readInt32BE(5))) return;
  const answer = await readMessage(client);
  if (typeOf(answer) !== 'p') throw new ProtocolError('expected a password message');
  server.write(answer);
}
