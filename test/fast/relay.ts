import { type AddressInfo, connect } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';

/** A message of the log-in: 10 names the mechanisms, 11 and 12 carry SCRAM, 0 is the end of it. */
export interface Authentication {
  code: number;
  text: string;
}

/** What the client gets in the place of a message of the server. */
export type Fault = (message: Authentication) => (Authentication | Buffer | 'hang up')[];

export interface Relay {
  port: number;
  /** Does something to the log-ins from now on. */
  fault: Fault;
  /** The types of the messages in each frame of the clients since the last call; the start-up, which has none, is `-`. */
  takeFrames(): string[];
  openSockets(): number;
  close(): Promise<void>;
}

const AUTHENTICATION = 'R'.charCodeAt(0);

export const noFault: Fault = (message) => [message];

/** Passes bytes between a WebSocket and PostgreSQL itself, whose log-in is SCRAM where the gateway's is a cleartext password. */
export async function startRelay(postgresPort: number): Promise<Relay> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await new Promise((resolve) => server.once('listening', resolve));
  let frames: string[] = [];

  server.on('connection', (client: WebSocket) => {
    const postgres = connect(postgresPort, '127.0.0.1');
    let started = false;
    client.on('message', (frame: Buffer) => {
      frames.push(messageTypes(frame, started));
      started = true;
      postgres.write(frame);
    });
    postgres.on('data', (packet) => {
      const { data, hangUp } = withFault(packet, relay.fault);
      client.send(data);
      if (hangUp) client.close();
    });
    postgres.on('error', () => {}); // 'close' follows
    postgres.on('close', () => client.close());
    client.on('close', () => postgres.destroy());
  });

  const relay: Relay = {
    port: (server.address() as AddressInfo).port,
    fault: noFault,
    takeFrames() {
      const taken = frames;
      frames = [];
      return taken;
    },
    openSockets: () => server.clients.size,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return relay;
}

/** The messages of the log-in stand at the head of their packet, and are whole: PostgreSQL flushes each. */
function withFault(packet: Buffer, fault: Fault): { data: Buffer; hangUp: boolean } {
  const parts: Buffer[] = [];
  let at = 0;
  while (packet[at] === AUTHENTICATION) {
    const end = at + 1 + packet.readInt32BE(at + 1);
    for (const message of fault({ code: packet.readInt32BE(at + 5), text: packet.toString('utf8', at + 9, end) })) {
      if (message === 'hang up') return { data: Buffer.concat(parts), hangUp: true };
      parts.push(Buffer.isBuffer(message) ? message : serialize(message));
    }
    at = end;
  }
  return { data: Buffer.concat([...parts, packet.subarray(at)]), hangUp: false };
}

function serialize({ code, text }: Authentication): Buffer {
  const body = Buffer.from(text);
  const head = Buffer.alloc(9, AUTHENTICATION);
  head.writeInt32BE(8 + body.length, 1);
  head.writeInt32BE(code, 5);
  return Buffer.concat([head, body]);
}

function messageTypes(frame: Buffer, started: boolean): string {
  let types = started ? '' : '-';
  for (let at = started ? 0 : frame.readInt32BE(0); at < frame.length; at += 1 + frame.readInt32BE(at + 1)) {
    types += String.fromCharCode(frame[at] ?? 0);
  }
  return types;
}
