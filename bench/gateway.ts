import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { neon, neonConfig } from '@neondatabase/serverless';
import { WebSocket } from 'ws';
import { logIn } from '../local/gateway-login.ts';
import { message, startupMessage } from '../local/postgres-messages.ts';
import { encodeFlight } from '../local/postgres-flight.ts';
import { readArguments } from '../scripts/read-arguments.ts';
import { STATEMENT } from './gateway-bound.ts';
import type { Addresses } from './gateway-server.ts';
import { median } from './measure.ts';

/** What the gateway is held to: requests a second with 16 at once, and milliseconds at the median with one. */
const GOALS = { undici: { perSecond: 8_000, p50: 0.3 }, neon: { perSecond: 3_000, p50: 0.6 }, relay: { p50: 0.05 } };
const CONCURRENCY = 16;

const HELP = `Measures the gateway alone: what POST /sql carries, session reset included, and what the WebSocket relay adds.
PostgreSQL and the gateway run in processes of their own. The bound is what node:http, or ws, carries on this machine in front
of PostgreSQL with nothing in between.

Usage: npm run bench -- gateway [--quick] [--json]
`;

/** @param args behind the word `gateway` */
export async function run(args: string[]): Promise<void> {
  const { values } = readArguments(HELP, {
    args,
    options: { quick: { type: 'boolean' }, json: { type: 'boolean' } },
  });
  if (values.help) return console.log(HELP);
  const server = fork(fileURLToPath(new URL('gateway-server.ts', import.meta.url)));
  try {
    const [{ url, tcpUrl, boundUrl }] = (await once(server, 'message')) as [Addresses];
    const requests = values.quick ? 3_000 : 15_000;
    const [undici, undiciBound] = [throughUndici(url, url), throughUndici(boundUrl, url)];
    const results = {
      undici: { ...(await compare(undici.ask, undiciBound.ask, requests)), goal: GOALS.undici },
      neon: { ...(await compare(throughNeon(url), throughNeon(url, boundUrl), requests)), goal: GOALS.neon },
      relay: { ...(await measureRelay(url, tcpUrl, boundUrl, requests)), goal: GOALS.relay },
    };
    await Promise.all([undici.close(), undiciBound.close()]);
    if (values.json) console.log(JSON.stringify(results, null, 2));
    else print(results);
  } finally {
    server.disconnect();
    await once(server, 'exit');
  }
}

const QUERY = STATEMENT.query;

/** The plainest client: undici's own pool, which `fetch` is made of. It comes with miniflare. */
function throughUndici(origin: string, url: string) {
  const require = createRequire(createRequire(import.meta.url).resolve('miniflare'));
  const { Pool } = require('undici') as {
    Pool: new (
      origin: string,
      options: { connections: number },
    ) => {
      request(options: object): Promise<{ statusCode: number; body: { text(): Promise<string> } }>;
      close(): Promise<void>;
    };
  };
  const pool = new Pool(`http://${new URL(origin).host}`, { connections: CONCURRENCY });
  const request = {
    path: '/sql',
    method: 'POST',
    headers: { 'Neon-Connection-String': url, 'Neon-Raw-Text-Output': 'true', 'Neon-Array-Mode': 'true' },
    body: JSON.stringify({ query: QUERY, params: [1] }),
  };
  return {
    ask: async () => {
      const { statusCode, body } = await pool.request(request);
      const text = await body.text();
      if (statusCode !== 200) throw new Error(text);
    },
    close: () => pool.close(),
  };
}

function throughNeon(url: string, origin = `http://${new URL(url).host}`) {
  const sql = neon(url);
  return async () => {
    neonConfig.fetchEndpoint = `${origin}/sql`; // read before anything is awaited
    await sql.query(QUERY, [1]);
  };
}

type Ask = () => Promise<void>;

/** The gateway and the bound in turns: while the machine is busy, it is busy for both. */
async function compare(gateway: Ask, bound: Ask, requests: number) {
  const best = () => ({ perSecond: 0, p50: Number.POSITIVE_INFINITY });
  const results = { ...best(), bound: best() };
  const turns = [
    { ask: gateway, result: results },
    { ask: bound, result: results.bound },
  ];
  for (const { ask } of turns) await load(ask, requests / 2); // compiled, and connected
  for (let round = 0; round < 3; round++) {
    for (const { ask, result } of turns) {
      const start = performance.now();
      await load(ask, requests);
      result.perSecond = Math.max(result.perSecond, Math.round((requests / (performance.now() - start)) * 1_000));
      result.p50 = Math.min(result.p50, median(await times(ask, requests / 8)));
    }
  }
  return results;
}

/** So many, 16 at once. */
async function load(ask: Ask, count: number): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) await ask();
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

/** A statement on a connection to PostgreSQL itself, through the gateway's WebSocket, and through a bare one, in turns. */
async function measureRelay(url: string, tcpUrl: string, boundUrl: string, statements: number) {
  const { hostname, port, username, password, pathname } = new URL(tcpUrl);
  const parameters = { user: username, database: pathname.slice(1) };
  const { socket } = await logIn({ host: hostname, port: Number(port) }, parameters, password);
  socket.setNoDelay(true).resume();
  const direct = asker(
    (listener) => socket.on('data', listener),
    (bytes) => socket.write(bytes),
  );
  const [relay, bare] = [await openWebSocket(new URL(url).host), await openWebSocket(new URL(boundUrl).host)];
  await relay.ask(Buffer.concat([startupMessage(parameters), message('p', `${password}\0`)]));

  const added: { gateway: number; bound: number }[] = [];
  for (let round = 0; round < 20; round++) {
    const time = async (ask: Ask) => median(await times(ask, statements / 40));
    const alone = await time(direct);
    added.push({ gateway: (await time(relay.ask)) - alone, bound: (await time(bare.ask)) - alone });
  }
  socket.destroy();
  relay.close();
  bare.close();
  const warm = added.slice(3);
  return { p50: median(warm.map(({ gateway }) => gateway)), bound: { p50: median(warm.map(({ bound }) => bound)) } };
}

async function openWebSocket(host: string) {
  const webSocket = new WebSocket(`ws://${host}/v2`, { perMessageDeflate: false });
  await once(webSocket, 'open');
  const ask = asker(
    (listener) => webSocket.on('message', listener),
    (bytes) => webSocket.send(bytes),
  );
  return { ask, close: () => webSocket.terminate() };
}

const FLIGHT = encodeFlight([STATEMENT]);
const READY = message('Z', 'I');

/** Sends, and resolves at the ReadyForQuery. */
function asker(listen: (listener: (bytes: Buffer) => void) => void, send: (bytes: Buffer) => void) {
  let resolve: (() => void) | undefined;
  listen((bytes) => {
    if (bytes.subarray(-READY.length).equals(READY)) resolve?.();
  });
  return (bytes = FLIGHT) =>
    new Promise<void>((done) => {
      resolve = done;
      send(bytes);
    });
}

async function times(work: Ask, count: number): Promise<number[]> {
  const measured: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await work();
    measured.push(performance.now() - start);
  }
  return measured;
}

interface Figures {
  perSecond?: number | undefined;
  p50?: number | undefined;
}

function print(results: Record<keyof typeof GOALS, Figures & { goal: Figures; bound: Figures }>) {
  const names = {
    undici: 'POST /sql, undici',
    neon: 'POST /sql, neon()',
    relay: 'WebSocket relay, added to a statement',
  };
  const three = (cells: string[]) => cells.map((cell) => cell.padStart(9)).join('');
  const group = ['', 'goal', 'bound'];
  console.log(`\n${''.padEnd(38)}${'16 at once, /s'.padStart(27)}${'alone, ms'.padStart(27)}`);
  console.log(`${''.padEnd(38)}${three(group)}${three(group)}`);
  for (const name of Object.keys(GOALS) as (keyof typeof GOALS)[]) {
    const all = [results[name], results[name].goal, results[name].bound];
    const perSecond = all.map((figures) => String(figures.perSecond ?? ''));
    console.log(`${names[name].padEnd(38)}${three(perSecond)}${three(all.map(({ p50 }) => p50?.toFixed(3) ?? ''))}`);
  }
  console.log();
}
