import { type Auth, CLIENTS, type ClientName, type OpenClient } from './clients.ts';
import type { Operation } from './operations.ts';

/** One measurement is these, in this order. */
export type ClientRequest = { client: ClientName } & (
  | { do: 'open'; auth: Auth; operation: Operation; urls: string[]; warmUps: number }
  | { do: 'run'; times: number }
  | { do: 'close' }
);

export interface Measured {
  /** How long each run took. */
  ms: number[];
  /** The CPU of this process for all of them. */
  cpuMs: number;
}

export type ClientReply = Measured | { error: string };

/** Opened and not yet closed: one for each URL, and what it runs. */
const opened = new Map<ClientName, { client: OpenClient; run: () => Promise<unknown> }[]>();

process.on('message', (request: ClientRequest) => {
  measure(request).then(
    (reply) => process.send?.(reply),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit());

async function measure(request: ClientRequest): Promise<Measured> {
  const ms: number[] = [];
  const before = process.cpuUsage();
  if (request.do === 'open') {
    const { client: name, auth, operation, urls, warmUps } = request;
    const clients = urls.map((url) => {
      const client = CLIENTS[name].open(url, auth);
      const { [operation]: run } = client.operations;
      if (!run) throw new Error(`${name} has no ${operation}`);
      return { client, run };
    });
    opened.set(name, clients);
    for (let i = 0; i < warmUps; i++) for (const { run } of clients) await run();
  } else if (request.do === 'run') {
    for (const { run } of opened.get(request.client) ?? []) {
      for (let i = 0; i < request.times; i++) {
        const start = performance.now();
        await run();
        ms.push(performance.now() - start);
      }
    }
  } else {
    for (const { client } of opened.get(request.client) ?? []) await client.close();
  }
  const { user, system } = process.cpuUsage(before);
  return { ms, cpuMs: (user + system) / 1000 };
}
