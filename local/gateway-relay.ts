import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { CONTROL_PLANE_ERROR } from './gateway-errors.ts';
import { join } from './gateway-join.ts';
import { hangUp, logIn, passLogIn, Refusal } from './gateway-login.ts';
import { unsupportedParameter } from './gateway-pooler.ts';
import type { Route } from './gateway-routes.ts';
import type { Simulator } from './gateway-simulation.ts';
import { cancel, type Upstream } from './gateway-upstream.ts';
import {
  CANCEL_REQUEST,
  errorResponse,
  GSS_REQUEST,
  int32,
  message,
  type Parameters,
  parseStartup,
  PROTOCOL_3,
  ProtocolError,
  readMessage,
  readStartup,
  SSL_REQUEST,
  typeOf,
} from './postgres-messages.ts';

/** Milliseconds that a client may take to log in: PostgreSQL's `authentication_timeout`. */
const LOG_IN_DEADLINE = 60_000;

export interface RelayOptions {
  /** The server, unless something says that another is meant. */
  upstream: Upstream;
  simulator: Simulator;
  /** The parameters of a start-up message that reach the server. */
  passOn: (parameters: Parameters) => Parameters;
}

/** Which server, and as whom. @throws {Refusal} */
type FindRoute = (user: string) => Route;

/** Relays PostgreSQL's protocol between clients, over WebSockets or TCP, and the server. */
export function createRelay({ upstream: primary, simulator, passOn }: RelayOptions) {
  /** Where a cancel request goes: all that it carries is the key of the session. */
  const sessions = new Map<string, Upstream>();

  /**
   * Ends when the client or the server does.
   * @param authentication `cleartext` as Neon's proxy does: the client can send its password ahead, and the gateway logs in for
   *   it. `pass` leaves it to the client and the server.
   */
  return async (client: Duplex, authentication: 'cleartext' | 'pass', findRoute: FindRoute): Promise<void> => {
    const deadline = setTimeout(() => client.destroy(), LOG_IN_DEADLINE);
    try {
      const startup = await untilStartup(client, (key) => cancel(sessions.get(key.toString('hex')) ?? primary, key));
      if (!startup) return;
      const version = startup.readInt32BE(4);
      const asked = passOn(parseStartup(startup));
      const { upstream, role, pooled } = findRoute(asked['user'] ?? '');
      const unsupported = pooled ? unsupportedParameter(asked) : undefined;
      if (unsupported) throw new Refusal('08P01', unsupported);
      if (simulator.controlPlaneFails()) throw new Refusal('XX000', CONTROL_PLANE_ERROR);
      const release = await simulator.use();
      if (client.destroyed) return release();
      client.once('close', release);
      const parameters = { ...asked, user: role };
      const loggedIn =
        authentication === 'pass'
          ? await passLogIn(client, upstream, version, parameters)
          : await logIn(upstream, withoutExtensions(client, version, parameters), await askPassword(client));
      if (!loggedIn) return;
      const key = loggedIn.key.toString('hex');
      sessions.set(key, upstream);
      loggedIn.socket.once('close', () => sessions.delete(key)); // the client may have gone meanwhile
      join(client, loggedIn, upstream, { pooled, nextDrop: simulator.nextDrop });
    } catch (error) {
      hangUp(client, authentication === 'cleartext' ? proxyErrorOf(error) : serverErrorOf(error));
    } finally {
      clearTimeout(deadline);
    }
  };
}

/** Answers what comes before the start-up message. @returns undefined for a mere cancel request */
async function untilStartup(client: Duplex, onCancel: (key: Buffer) => Promise<void>): Promise<Buffer | undefined> {
  for (;;) {
    const startup = await readStartup(client);
    const code = startup.readInt32BE(4);
    if (code === SSL_REQUEST || code === GSS_REQUEST) {
      client.write('N');
    } else if (code === CANCEL_REQUEST) {
      await onCancel(startup.subarray(8));
      hangUp(client);
      return undefined;
    } else if (code >> 16 === 3) {
      return startup;
    } else {
      throw new ProtocolError('unsupported protocol version');
    }
  }
}

/** If the gateway logs in, nothing beyond version 3.0 of the protocol is available: the client is told, as by Neon's proxy. */
function withoutExtensions(client: Duplex, version: number, asked: Parameters): Parameters {
  const isExtension = ([name]: [string, string]) => name.startsWith('_pq_.');
  const extensions = Object.entries(asked).filter(isExtension);
  if (version !== PROTOCOL_3 || extensions.length > 0) {
    const names = Buffer.from(extensions.map(([name]) => `${name}\0`).join(''));
    client.write(message('v', Buffer.concat([int32(PROTOCOL_3, extensions.length), names]))); // NegotiateProtocolVersion
  }
  return Object.fromEntries(Object.entries(asked).filter((parameter) => !isExtension(parameter)));
}

async function askPassword(client: Duplex): Promise<string> {
  client.write(message('R', int32(3))); // AuthenticationCleartextPassword
  const answer = await readMessage(client);
  if (typeOf(answer) !== 'p') throw new ProtocolError('expected a password message');
  return answer.toString('utf8', 5, answer.length - 1);
}

/** Neon's proxy gives every refusal the code of an internal error, and calls it an ERROR. */
function proxyErrorOf(error: unknown): Buffer {
  const { message = CONTROL_PLANE_ERROR } = reasonOf(error) ?? {};
  return errorResponse('XX000', message, 'ERROR');
}

function serverErrorOf(error: unknown): Buffer {
  const { code = '08006', message = 'failed to connect to the database' } = reasonOf(error) ?? {};
  return errorResponse(code, message);
}

/** What a client may be told; undefined if the server cannot be reached. */
function reasonOf(error: unknown): { code?: string | undefined; message: string } | undefined {
  if (error instanceof Refusal || error instanceof pg.DatabaseError) return error;
  return error instanceof ProtocolError ? { code: '08P01', message: error.message } : undefined;
}
