import { connect, type Socket } from 'node:net';
import pg from 'pg';
import type { WebSocket } from 'ws';
import type { Upstream } from './gateway.ts';
import { IS_SUPERUSER, LOCAL_CLIENT, SUPERUSER_REFUSED } from './pg-client.ts';

/** Codes in place of the protocol's version: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

/** Start-up and password are short; whoever sends more before logging in is not a driver. Bytes. */
const MAX_HANDSHAKE_BYTES = 64 * 1024;

/** Bytes waiting for a slow client before the server is told to wait. */
const HIGH_WATER_MARK = 1024 * 1024;

/**
 * Carries PostgreSQL's protocol between a WebSocket and the server. As Neon's proxy does, it asks the client for its password in
 * clear text, so that the driver can send it ahead, and logs in to the server on the client's behalf.
 */
export function relay(webSocket: WebSocket, upstream: Upstream): void {
  let received: Buffer = Buffer.alloc(0);
  let startup: Record<string, string> | undefined;
  let server: Socket | undefined;
  let loggingIn = false;

  const refuse = (code: string, message: string) => {
    webSocket.send(errorResponse(code, message));
    webSocket.resume(); // paused, it would not see the other end agree to close
    webSocket.close();
  };

  const logIn = async (parameters: Record<string, string>, password: string) => {
    loggingIn = true;
    webSocket.pause();
    const { socket, greeting, superuser } = await openUpstream(upstream, parameters, password);
    if (webSocket.readyState !== webSocket.OPEN || superuser) {
      socket.destroy();
      if (superuser) refuse('28000', SUPERUSER_REFUSED);
      return;
    }
    server = socket;
    webSocket.send(greeting);
    socket.on('data', (chunk) => {
      webSocket.send(chunk, () => {
        if (socket.isPaused() && webSocket.bufferedAmount < HIGH_WATER_MARK) socket.resume();
      });
      if (webSocket.bufferedAmount >= HIGH_WATER_MARK) socket.pause();
    });
    socket.on('drain', () => webSocket.resume());
    socket.on('error', () => webSocket.terminate());
    socket.on('close', () => webSocket.close());
    if (received.length > 0) socket.write(received);
    received = Buffer.alloc(0);
    webSocket.resume();
  };

  /** Reads the start-up and password messages off the front of what has arrived. */
  const handshake = () => {
    for (;;) {
      const typed = startup === undefined ? 0 : 1; // the start-up message has no type byte
      if (received.length < typed + 8 && !(typed && received.length >= 5)) return;
      const length = received.readInt32BE(typed);
      if (length < (typed ? 4 : 8) || length > MAX_HANDSHAKE_BYTES) return refuse('08P01', 'invalid message length');
      if (received.length < typed + length) return;
      const message = received.subarray(0, typed + length);
      received = received.subarray(typed + length);
      if (startup === undefined) {
        const code = message.readInt32BE(4);
        if (code === SSL_REQUEST || code === GSS_REQUEST) {
          webSocket.send(Buffer.from('N'));
        } else if (code === CANCEL_REQUEST) {
          connect(upstream.port, upstream.host)
            .on('error', () => {})
            .end(message);
          return webSocket.close();
        } else if (code >> 16 === 3) {
          startup = parseStartup(message.subarray(8));
          webSocket.send(authentication(3)); // AuthenticationCleartextPassword
        } else {
          return refuse('08P01', 'unsupported protocol version');
        }
      } else if (message[0] === 0x70) {
        const password = message.subarray(5, -1).toString('utf8');
        if (password === '') return refuse('28P01', 'empty password');
        logIn(startup, password).catch((error: unknown) => {
          if (error instanceof pg.DatabaseError) refuse(error.code ?? '08006', error.message);
          else refuse('08006', 'failed to connect to the database');
        });
        return;
      } else {
        return refuse('08P01', 'expected a password message');
      }
    }
  };

  webSocket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary) return webSocket.close(1003, 'text frames are not supported');
    if (server) {
      if (!server.write(data)) webSocket.pause();
      return;
    }
    received = received.length === 0 ? data : Buffer.concat([received, data]);
    if (!loggingIn) handshake();
  });
  // Not ended but destroyed: a server that still has rows to send would wait for ever to send them.
  webSocket.on('close', () => server?.destroy());
  webSocket.on('error', () => server?.destroy());
}

/** Logs in and hands over the socket, with what the server said on the way. */
async function openUpstream(upstream: Upstream, parameters: Record<string, string>, password: string) {
  const { user = '', database = user } = parameters;
  const client = new UpstreamClient({ ...LOCAL_CLIENT, ...upstream, user, database, password }, parameters);
  const { connection } = client as unknown as { connection: UpstreamConnection };
  const said: Buffer[] = [authentication(0)]; // AuthenticationOk
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    said.push(message('S', Buffer.from(`${parameterName}\0${parameterValue}\0`)));
  });
  connection.on('backendKeyData', ({ processID, secretKey }) => {
    const key = Buffer.alloc(8);
    key.writeInt32BE(processID, 0);
    key.writeInt32BE(secretKey, 4);
    said.push(message('K', key));
  });
  client.on('error', () => {});
  await client.connect();
  const superuser = (await client.query(IS_SUPERUSER)).rowCount !== 0;
  said.push(message('Z', Buffer.from('I'))); // ReadyForQuery
  const socket = connection.stream;
  for (const event of ['data', 'end', 'close', 'error'] as const) socket.removeAllListeners(event);
  return { socket, greeting: Buffer.concat(said), superuser };
}

/** What `pg` does not declare: its connection's messages, and the parameters it starts up with. */
interface UpstreamConnection {
  stream: Socket;
  on(event: 'parameterStatus', listener: (message: { parameterName: string; parameterValue: string }) => void): void;
  on(event: 'backendKeyData', listener: (message: { processID: number; secretKey: number }) => void): void;
}

class UpstreamClient extends pg.Client {
  readonly #parameters: Record<string, string>;

  constructor(config: pg.ClientConfig, parameters: Record<string, string>) {
    super(config);
    this.#parameters = parameters;
  }

  getStartupConf(): Record<string, string> {
    return this.#parameters;
  }
}

function parseStartup(bytes: Buffer): Record<string, string> {
  const words = bytes.toString('utf8').split('\0');
  const parameters: Record<string, string> = {};
  for (let i = 0; i + 1 < words.length && words[i]; i += 2) parameters[words[i] ?? ''] = words[i + 1] ?? '';
  return parameters;
}

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 0, 'latin1');
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

function authentication(kind: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeInt32BE(kind);
  return message('R', body);
}

function errorResponse(code: string, text: string): Buffer {
  return message('E', Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`));
}
