import { createServer } from 'node:net';
import { startListening } from '../local/start-listening.ts';

/** What a client sends that wants TLS: https://www.postgresql.org/docs/current/protocol-message-formats.html. */
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');

export interface TlsWitness {
  port: number;
  /** For each client so far, whether it asked for TLS before anything else. */
  asked: boolean[];
  close: () => void;
}

/** Listens in the place of PostgreSQL, and hangs up on each client after its first message. */
export async function startTlsWitness(): Promise<TlsWitness> {
  const asked: boolean[] = [];
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', (first) => {
        asked.push(first.equals(SSL_REQUEST));
        socket.destroy();
      });
  });
  return { port: await startListening(server), asked, close: () => void server.close() };
}
