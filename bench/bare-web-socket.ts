import { encodeFlight } from '../local/postgres-flight.ts';
import { message, startupMessage } from '../local/postgres-messages.ts';
import { splitMessages } from '../local/split-messages.ts';

/**
 * The least that a statement over a WebSocket can cost on this machine: the same bytes each time, and nobody reads the answer.
 * @param url of a gateway that asks for a cleartext password
 */
export function openBareWebSocket(url: string) {
  const { host, username, password, pathname } = new URL(url);
  const socket = new WebSocket(`ws://${host}/v2`);
  socket.binaryType = 'arraybuffer';
  let answered = () => {};
  const onBytes = splitMessages({ watched: 'Z', onMessage: () => answered() });
  socket.addEventListener('message', ({ data }) => onBytes(Buffer.from(data as ArrayBuffer)));

  const ask = (bytes: Buffer<ArrayBuffer>) =>
    new Promise<void>((resolve) => {
      answered = resolve;
      socket.send(bytes);
    });
  const startup = startupMessage({ user: username, database: pathname.slice(1) });
  const loggedIn = new Promise((resolve) => socket.addEventListener('open', resolve)).then(() =>
    ask(Buffer.concat([startup, message('p', `${password}\0`)])),
  );

  return {
    /** Sends each when the one before it has been answered. */
    async run(queries: readonly string[]): Promise<void> {
      const flights = queries.map((query) => Buffer.from(encodeFlight([{ query, params: [], describe: true }])));
      await loggedIn;
      for (const flight of flights) await ask(flight);
    },
    close: async () => socket.close(),
  };
}
