import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** How many ports behind a default are tried. */
const ATTEMPTS = 20;

export async function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Below what Linux gives to connections that go out (32768 to 60999), any of which may take the port in the meantime. */
const FIRST_PORT = 16_384;
const LAST_PORT = 32_767;

/** A port that nobody listens on at the moment. */
export async function anyFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    if (await isFree(port)) return port;
  }
}

/**
 * The port that was asked for, or the default or the next free one behind it.
 * @throws {Error} when the port that was asked for is in use
 */
export async function choosePort(
  name: string,
  requested: number | undefined,
  byDefault: number,
  warn: (message: string) => void,
): Promise<number> {
  if (requested !== undefined) {
    if (await isFree(requested)) return requested;
    throw new Error(`Port ${requested} is in use: choose another with --${name}.`);
  }
  for (let port = byDefault; port < byDefault + ATTEMPTS; port++) {
    if (!(await isFree(port))) continue;
    if (port !== byDefault) warn(`The default ${name} ${byDefault} is in use: using ${port}.`);
    return port;
  }
  throw new Error(`Ports ${byDefault} to ${byDefault + ATTEMPTS - 1} are in use: choose one with --${name}.`);
}
