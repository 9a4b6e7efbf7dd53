import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { logIn } from '../local/gateway-login.ts';
import type { Upstream } from '../local/gateway-upstream.ts';
import { encodeFlight, type Statement } from '../local/postgres-flight.ts';
import { type Parameters, query } from '../local/postgres-messages.ts';
import { splitMessages } from '../local/split-messages.ts';
import { startListening } from '../local/start-listening.ts';

/** What bench/gateway.ts asks. */
export const STATEMENT: Statement = { query: 'select $1::int as one', params: ['1'], describe: true };

const FLIGHT = Buffer.concat([encodeFlight([STATEMENT]), query('DISCARD ALL')]);
const ANSWER =
  '{"rowAsArray":true,"fields":[{"name":"one","dataTypeID":23,"tableID":0,"columnID":0,"dataTypeSize":4,"dataTypeModifier":-1,"format":"text"}],"rows":[["1"]],"command":"SELECT","rowCount":1}';

/**
 * The least that a gateway in Node can cost on this machine: node:http, or ws, in front of PostgreSQL and nothing in between.
 * Every request has the same flight sent and gets the same answer; frames and bytes are passed on as they come.
 * @param connections to PostgreSQL for requests; one more serves the WebSocket
 */
export async function startBound(
  upstream: Upstream,
  parameters: Parameters,
  password: string,
  connections: number,
): Promise<string> {
  const connect = async () => (await logIn(upstream, parameters, password)).socket.resume();
  const idle: Socket[] = [];
  const running = new Map<Socket, () => void>();
  const waiting: (() => void)[] = [];
  const ask = (answered: () => void) => {
    const socket = idle.pop();
    if (!socket) return waiting.push(() => ask(answered));
    running.set(socket, answered);
    return socket.write(FLIGHT);
  };
  for (let i = 0; i < connections; i++) {
    const socket = await connect();
    const onMessage = () => {
      const answered = running.get(socket);
      if (running.delete(socket)) return answered?.();
      idle.push(socket); // reset
      return waiting.shift()?.();
    };
    socket.on('data', splitMessages({ watched: 'Z', onMessage }));
    idle.push(socket);
  }
  const headers = { 'content-type': 'application/json', 'content-length': ANSWER.length };
  const server = createServer((request, response) => {
    request.resume().once('end', () => ask(() => response.writeHead(200, headers).end(ANSWER)));
  });
  const piped = await connect();
  new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (webSocket) => {
    webSocket.on('message', (bytes: Buffer) => piped.write(bytes));
    piped.on('data', (bytes: Buffer) => webSocket.send(bytes));
  });
  return `http://127.0.0.1:${await startListening(server)}`;
}
