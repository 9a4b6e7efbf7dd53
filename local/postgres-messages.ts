import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';

// https://www.postgresql.org/docs/current/protocol-message-formats.html

/** Codes in place of the protocol's version. */
export const SSL_REQUEST = 80877103;
export const GSS_REQUEST = 80877104;
export const CANCEL_REQUEST = 80877102;
export const PROTOCOL_3 = 3 << 16;

/** Bytes. Start-up and password messages are short; whatever sends more before logging in is not a driver. */
const MAX_HANDSHAKE_BYTES = 64 * 1024;

export type Parameters = Record<string, string>;

/** Where a server's Unix socket is in its directory. */
export function socketPath(directory: string, port: number): string {
  return `${directory}/.s.PGSQL.${port}`;
}

/** The other end disconnected, or sent something that is not a message. */
export class ProtocolError extends Error {}

/** Reads exactly `length` bytes from a stream that nothing else reads. What follows stays in the stream. */
export async function readBytes(stream: Duplex, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let missing = length; missing > 0;) {
    // No more than is buffered: asked for more, a stream would report again and again that it is readable, and read nothing.
    const part = stream.read(Math.min(missing, stream.readableLength) || undefined) as Buffer | null;
    if (part) {
      parts.push(part);
      missing -= part.length;
    } else if (stream.readableEnded || stream.destroyed) {
      throw new ProtocolError('the connection ended');
    } else {
      await untilReadable(stream);
    }
  }
  return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
}

function untilReadable(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const events = ['readable', 'end', 'close'] as const;
    const wake = () => {
      for (const event of events) stream.off(event, wake);
      resolve();
    };
    for (const event of events) stream.on(event, wake);
  });
}

/** A whole message of the log-in, including type and length. */
export async function readMessage(stream: Duplex): Promise<Buffer> {
  return readFramed(stream, 1);
}

/** A whole start-up message (or a request in its place), which has no type. */
export async function readStartup(stream: Duplex): Promise<Buffer> {
  return readFramed(stream, 0);
}

async function readFramed(stream: Duplex, typed: 0 | 1): Promise<Buffer> {
  const head = await readBytes(stream, typed + 4);
  const length = head.readInt32BE(typed);
  if (length < (typed ? 4 : 8) || length > MAX_HANDSHAKE_BYTES) throw new ProtocolError('invalid message length');
  return length === 4 ? head : Buffer.concat([head, await readBytes(stream, length - 4)]);
}

/** One character, as in the protocol's documentation. */
export function typeOf(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0);
}

export function message(type: string, body: Buffer | string): Buffer {
  const content = typeof body === 'string' ? Buffer.from(body) : body;
  const whole = Buffer.allocUnsafe(5 + content.length);
  whole.write(type, 0, 'latin1');
  whole.writeInt32BE(content.length + 4, 1);
  content.copy(whole, 5);
  return whole;
}

export function int32(...values: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  values.forEach((value, i) => bytes.writeInt32BE(value, 4 * i));
  return bytes;
}

export function parseStartup(startup: Buffer): Parameters {
  const words = startup.toString('utf8', 8).split('\0');
  const parameters: Parameters = {};
  for (let i = 0; i + 1 < words.length && words[i]; i += 2) parameters[words[i] ?? ''] = words[i + 1] ?? '';
  return parameters;
}

export function startupMessage(parameters: Parameters, version = PROTOCOL_3): Buffer {
  const words = Object.entries(parameters).flat();
  const body = Buffer.from(`${words.map((word) => `${word}\0`).join('')}\0`);
  return Buffer.concat([int32(8 + body.length, version), body]);
}

/** @param key the process id and the secret, as BackendKeyData holds them */
export function cancelRequest(key: Buffer): Buffer {
  return Buffer.concat([int32(8 + key.length, CANCEL_REQUEST), key]);
}

export function query(sql: string): Buffer {
  return message('Q', `${sql}\0`);
}

export function errorResponse(code: string, text: string, severity = 'FATAL'): Buffer {
  return message('E', `S${severity}\0V${severity}\0C${code}\0M${text}\0\0`);
}
