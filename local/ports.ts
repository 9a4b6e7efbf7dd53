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

/** A port that nobody listens on at the moment. */
export async function anyFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
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
