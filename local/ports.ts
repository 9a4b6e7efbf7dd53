import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createOnce } from './create-once.ts';
import { isRunning } from './postgres-process.ts';
import { startListening } from './start-listening.ts';

const MAX_PORT = 65_535;

/** How many ports are tried, starting at a default. */
const ATTEMPTS = 20;

export async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  await server?.[Symbol.asyncDispose]();
  return server !== undefined;
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server));
  });
}

/** Below what Linux uses for outgoing connections (32768 to 60999), any of which may take the port in the meantime. */
const FIRST_PORT = 16_384;
const LAST_PORT = 32_767;

/**
 * A port that nobody listens on at the moment.
 * @throws {Error} with the system's reason where this process may not listen at all, as in some sandboxes
 */
export async function anyFreePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    if (await isFree(port)) return port;
  }
  const server = createServer();
  const port = await startListening(server);
  await server[Symbol.asyncDispose]();
  return port;
}

/** The process that listens here is choosing a port: one at a time. If it is killed, the system frees this for the next one. */
export const TURN_PORT = FIRST_PORT - 1;

/** Milliseconds to wait for a turn: whatever listens there for longer is something else, and not waited for again. */
const TURN_MS = 2_000;
let waitsForTurn = true;

/** Milliseconds after which a process is listening where it said it would, or has failed to. */
const CLAIM_MS = 300_000;

/** The ports that this process has chosen, and for what: perhaps nothing listens on them yet. */
const chosen = new Map<number, string>();

/**
 * The port that was asked for, or the default, or the next free one after it, or else any.
 * @throws {Error} when nothing can listen on the port that was asked for, or it has been chosen for something else
 */
export async function choosePort(
  name: string,
  requested: number | undefined,
  byDefault: number,
  warn: (message: string) => void,
): Promise<number> {
  const other = requested && chosen.get(requested);
  if (other) throw new Error(`Port ${requested} is already the ${other}: choose another with --${name}.`);
  if (requested && !(await inTurn(() => claim(requested)))) {
    throw new Error(
      `Port ${requested} is in use, or this account may not listen on it: choose another with --${name}.`,
    );
  }
  const port = requested ?? (await freePortFrom(byDefault));
  if (!requested && port !== byDefault) warn(`The default ${name} ${byDefault} is in use: using ${port}.`);
  chosen.set(port, name);
  return port;
}

async function freePortFrom(first: number): Promise<number> {
  for (let port = first; port < first + ATTEMPTS && port <= MAX_PORT; port++) {
    if (!chosen.has(port) && (await inTurn(() => claim(port)))) return port;
  }
  return anyFreePort();
}

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const giveUp = performance.now() + TURN_MS;
  let turn = await listen(TURN_PORT);
  while (!turn && waitsForTurn) {
    waitsForTurn = performance.now() < giveUp;
    await setTimeout(10);
    turn = await listen(TURN_PORT);
  }
  try {
    return await work();
  } finally {
    await turn?.[Symbol.asyncDispose]();
  }
}

/**
 * Claims a free port for this process, which does not listen on it yet: a file says whose it is, so that of two processes that
 * start at the same moment only one gets it. The file is not named after this app: the other process may be another app's.
 */
async function claim(port: number): Promise<boolean> {
  if (!(await isFree(port))) return false;
  const file = path.join(tmpdir(), `npm-run-dev-port-${port}`);
  const own = String(process.pid);
  try {
    const owner = await createOnce(file, own);
    if (owner !== own) {
      const { mtimeMs } = await stat(file);
      if (isRunning(Number(owner)) && Date.now() < mtimeMs + CLAIM_MS) return false;
      await rm(file); // the owner was killed; its id may be another process's by now
      if ((await createOnce(file, own)) !== own) return false;
    }
    process.once('exit', () => rmSync(file, { force: true }));
  } catch {
    // Another account's file, or nowhere to write one: it has to suffice that the port is free.
  }
  return true;
}
