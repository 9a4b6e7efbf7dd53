import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { neon, neonConfig } from '@neondatabase/serverless';
import { WebSocket } from 'ws';
import { logIn } from '../local/gateway-login.ts';
import { message, startupMessage } from '../local/postgres-messages.ts';
import { encodeFlight } from '../local/postgres-flight.ts';

/** What the gateway is held to: requests a second with 16 at once, and milliseconds at the median with one. */
const GOALS = { undici: { perSecond: 8_000, p50: 0.3 }, neon: { perSecond: 3_000, p50: 0.6 }, relay: { p50: 0.05 } };
const CONCURRENCY = 16;

const HELP = `Measures the gateway alone: what POST /sql carries, session reset included, and what the WebSocket relay adds.
PostgreSQL and the gateway run in a process of their own.

Usage: npm run bench -- gateway [--quick] [--json]
`;

/** @param args behind the word `gateway` */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return console.log(HELP);
  const server = fork(fileURLToPath(new URL('gateway-server.ts', import.meta.url)));
  try {
    const [{ url, tcpUrl }] = (await once(server, 'message')) as [{ url: string; tcpUrl: string }];
    const requests = values.quick ? 4_000 : 20_000;
    const undici = throughUndici(url);
    const results = {
      undici: { ...(await measure(() => undici.ask(), requests)), goal: GOALS.undici },
      neon: { ...(await measure(throughNeon(url), requests)), goal: GOALS.neon },
      relay: { ...(await measureRelay(url, tcpUrl, requests)), goal: GOALS.relay },
    };
    await undici.close();
    if (values.json) console.log(JSON.stringify(results, null, 2));
    else print(results);
  } finally {
    server.disconnect();
    await once(server, 'exit');
  }
}

const QUERY = 'select $1::int as one';

/** The plainest client: undici's own pool, which `fetch` is made of. It comes with miniflare. */
function throughUndici(url: string) {
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
  const pool = new Pool(`http://${new URL(url).host}`, { connections: CONCURRENCY });
  const request = {
    path: '/sql',
    method: 'POST',
    headers: { 'Neon-Connection-String': url, 'Neon-Raw-Text-Output': 'true', 'Neon-Array-Mode': 'true' },
    body: JSON.stringify({ query: QUERY, params: [1] }),
  };
  return {
    async ask() {
      const { statusCode, body } = await pool.request(request);
      const text = await body.text();
      if (statusCode !== 200) throw new Error(text);
    },
    close: () => pool.close(),
  };
}

function throughNeon(url: string) {
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  const sql = neon(url);
  return async () => void (await sql.query(QUERY, [1]));
}

/** The most of three runs with 16 at once, and the median of one after another. */
async function measure(ask: () => Promise<void>, requests: number) {
  const load = async (count: number) => {
    let left = count;
    const worker = async () => {
      while (left-- > 0) await ask();
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  };
  await load(requests / 2); // compiled, and connected
  let perSecond = 0;
  for (let run = 0; run < 3; run++) {
    const start = performance.now();
    await load(requests);
    perSecond = Math.max(perSecond, (requests / (performance.now() - start)) * 1_000);
  }
  return { perSecond: Math.round(perSecond), p50: median(await times(ask, requests / 4)) };
}

/** A statement on a connection to PostgreSQL itself, and on one through the gateway's WebSocket, in turns. */
async function measureRelay(url: string, tcpUrl: string, statements: number) {
  const { hostname, port, username, password, pathname } = new URL(tcpUrl);
  const parameters = { user: username, database: pathname.slice(1) };
  const flight = encodeFlight([{ query: QUERY, params: ['1'], describe: true }]);
  const { socket } = await logIn({ host: hostname, port: Number(port) }, parameters, password);
  socket.setNoDelay(true).resume();
  const direct = asker(
    (listener) => socket.on('data', listener),
    () => socket.write(flight),
  );

  const webSocket = new WebSocket(`ws://${new URL(url).host}/v2`, { perMessageDeflate: false });
  await once(webSocket, 'open');
  const relayed = asker(
    (listener) => webSocket.on('message', listener),
    (bytes = flight) => webSocket.send(bytes),
  );
  await relayed(Buffer.concat([startupMessage(parameters), message('p', `${password}\0`)]));

  const difference: number[] = [];
  for (let round = 0; round < 20; round++) {
    const [a, b] = [await times(direct, statements / 40), await times(relayed, statements / 40)];
    if (round > 2) difference.push(median(b) - median(a));
  }
  socket.destroy();
  webSocket.terminate();
  return { p50: median(difference) };
}

/** Sends, and resolves at the ReadyForQuery. */
function asker(listen: (listener: (bytes: Buffer) => void) => void, send: (bytes?: Buffer) => void) {
  const READY = message('Z', 'I');
  let resolve: (() => void) | undefined;
  listen((bytes) => {
    if (bytes.subarray(-READY.length).equals(READY)) resolve?.();
  });
  return (bytes?: Buffer) =>
    new Promise<void>((done) => {
      resolve = done;
      send(bytes);
    });
}

async function times(work: () => Promise<void>, count: number): Promise<number[]> {
  const measured: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await work();
    measured.push(performance.now() - start);
  }
  return measured;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function print(
  results: Record<string, { perSecond?: number; p50: number; goal: { perSecond?: number; p50: number } }>,
) {
  const names: Record<string, string> = {
    undici: 'POST /sql, undici',
    neon: 'POST /sql, neon()',
    relay: 'WebSocket relay, added to a statement',
  };
  console.log(
    `\n${''.padEnd(40)}${'16 at once, /s'.padStart(16)}${'goal'.padStart(8)}${'alone, ms'.padStart(12)}${'goal'.padStart(8)}`,
  );
  for (const [name, { perSecond, p50, goal }] of Object.entries(results)) {
    const throughput = `${String(perSecond ?? '').padStart(16)}${String(goal.perSecond ?? '').padStart(8)}`;
    console.log(
      `${(names[name] ?? name).padEnd(40)}${throughput}${p50.toFixed(3).padStart(12)}${String(goal.p50).padStart(8)}`,
    );
  }
  console.log();
}
