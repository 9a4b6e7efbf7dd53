import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { sql } from 'drizzle-orm';
import { build, type Plugin } from 'esbuild';
import { sign } from 'hono/jwt';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { bundleForNode } from '../../scripts/bundles/bundle-for-node.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { createDatabase, type Queryable, type QueryEvent } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import type { Target } from '../contract.ts';
import { createTestDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { startFaultProxy } from '../fault-proxy.ts';
import { startFunction } from '../lambda/start-function.ts';
import { startServer } from '../node/start-server.ts';
import { apiToken } from '../token.ts';
import { replaceOnce } from '../platforms/replace-once.ts';
import { bundleWorker, startWorker } from './start-worker.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = path.join(ROOT, 'functions/node.ts');

const headers = { Authorization: `Bearer ${apiToken}` };

/** The line that checks the API's token. */
const TOKEN_CHECK = `    .use(bearerAuth({ token: [apiToken, previousApiToken], realm: 'api', hashFunction: (token: string) => token }))\n`;

let gateway: Gateway;
let database: TestDatabase;
/** The TypeScript of docs/recipes.md, block by block. */
let blocks: string[];
const running: Target[] = [];

beforeAll(async () => {
  gateway = await startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port: 0 });
  database = await createTestDatabase(gateway.port);
  const recipes = await readFile(path.join(ROOT, 'docs/recipes.md'), 'utf8');
  blocks = [...recipes.matchAll(/```ts\n(.*?)```/gs)].map(([, block = '']) => block);
});

afterAll(async () => {
  await Promise.all(running.map((worker) => worker.close()));
  await gateway.close();
  await database.close();
});

/** The block that contains `text`. */
function blockWith(text: string): string {
  const block = blocks.find((candidate) => candidate.includes(text));
  if (!block) throw new Error(`docs/recipes.md says nothing of ${text}`);
  return block;
}

/** Stands for `@opentelemetry/api`, which is none of this repository's: keeps what it is told. */
const OPEN_TELEMETRY = `
export const told = [];
export const SpanKind = { CLIENT: 2 };
export const SpanStatusCode = { ERROR: 2 };
export const metrics = {
  getMeter: () => ({ createHistogram: (name) => ({ record: (value, attributes) => told.push({ name, value, attributes }) }) }),
};
export const trace = {
  getTracer: () => ({
    startSpan(name, { attributes }) {
      const span = { name, attributes };
      return { setStatus: (status) => Object.assign(span, { status }), end: () => told.push(span) };
    },
  }),
};`;

/** What a webhook's route leaves for later: it leaves something itself, a while later, and some of it fails. */
const WORK = `
    const name = c.req.valid('json').customer;
    const insert = sql\`insert into accounts (id, name, currency) values (gen_random_uuid(), \${name}, 'EUR')\`;
    const late = new Promise((resolve) => setTimeout(resolve, 500));
    c.var.later(late.then(() => c.var.later(c.var.db.transaction((tx) => tx.execute(insert)))));
    c.var.later(Promise.reject(new Error('it failed')));`;

/** Has one file bundled with changes. */
async function changed(file: string, changes: [part: string, by: string][]): Promise<Plugin> {
  const original = await readFile(path.join(ROOT, file), 'utf8');
  const contents = changes.reduce((text, [part, by]) => replaceOnce(text, part, by), original);
  return {
    name: 'change',
    setup: (bundler) =>
      bundler.onLoad({ filter: /\.ts$/ }, (args) =>
        args.path === path.join(ROOT, file) ? { contents, loader: 'ts' } : undefined,
      ),
  };
}

/** Starts the Worker with changes in one of its files. */
async function startChanged(
  name: string,
  file: string,
  changes: [part: string, by: string][],
  bindings?: Parameters<typeof startWorker>[2],
): Promise<Target> {
  const change = await changed(file, changes);
  const bundle = await bundleWorker(name, path.join(ROOT, 'functions/worker.ts'), [change]);
  const worker = await startWorker({ databaseUrl: database.url, apiToken }, bundle, bindings);
  running.push(worker);
  return worker;
}

it('the job on a schedule runs, and its request goes to the database', async () => {
  const worker = await startChanged('scheduled', 'functions/worker.ts', [
    ['{ app }', '{ app, database }'],
    ['export default app;\n', blockWith('scheduled(')],
  ]);
  const { requests } = gateway.stats();
  expect((await worker.fetch('/cdn-cgi/local/scheduled')).status).toBe(200);
  expect(gateway.stats().requests).toBe(requests + 1);
  expect((await worker.fetch('/health/live')).status).toBe(200);
});

// On Windows no signal can freeze it.
it.skipIf(process.platform === 'win32')(
  'the job on Lambda runs, though its connections were cut meanwhile',
  async () => {
    const LAMBDA = 'functions/lambda.ts';
    const change = await changed(LAMBDA, [
      ['{ app }', '{ app, database }'],
      ['export const handler =', `${blockWith('nightly =')}export const handler =`],
    ]);
    const bundle = path.join(path.dirname(inject('lambdaBundle')), 'lambda-job');
    await bundleForNode([LAMBDA], bundle, { plugins: [change] });
    const proxy = await startFaultProxy({ port: gateway.port });
    const url = new URL(database.url);
    url.port = String(proxy.port);
    const environment = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: url.href, LAMBDA_TASK_ROOT: bundle };
    const lambda = await startFunction({ handler: 'lambda.nightly', environment });
    try {
      const { requests } = gateway.stats();
      await lambda.invoke({});
      await sleep(100); // then it waits for the next event
      process.kill(lambda.pid, 'SIGSTOP');
      const answer = lambda.invoke({});
      proxy.reset();
      await sleep(100);
      process.kill(lambda.pid, 'SIGCONT');
      await answer;
      expect(gateway.stats().requests).toBe(requests + 2);
    } finally {
      await lambda.close();
      await proxy.close();
    }
  },
);

it('of the messages in a queue, only the one that failed comes again', async () => {
  const imports = `import { sql } from 'drizzle-orm';\n`;
  const insert = `insert into accounts (id, name, currency) values (gen_random_uuid(), \${message.body.customer}, 'EUR')`;
  const send = `app.get('/send', async (c) => {
    await env.QUEUE.sendBatch(['Grace', '', 'Edsger'].map((customer) => ({ body: { customer } })));
    return c.body(null);
  });\n`;
  const worker = await startChanged(
    'queue',
    'functions/worker.ts',
    [
      ['{ app }', '{ app, database }'],
      [
        'export default app;\n',
        imports + send + blockWith('async queue(').replace('select ${message.body.customer}', insert),
      ],
    ],
    { queueProducers: { QUEUE: 'paid' }, queueConsumers: { paid: { maxBatchTimeout: 1, maxRetries: 1 } } },
  );
  const { requests } = gateway.stats();
  expect((await worker.fetch('/send', { headers })).status).toBe(200);
  await vi.waitFor(() => expect(gateway.stats().requests).toBe(requests + 4), PATIENCE);
  const names = await database.query(`select name from accounts where name in ('Grace', 'Edsger') order by name`);
  expect(names).toEqual([{ name: 'Edsger' }, { name: 'Grace' }]);
});

it('a Durable Object runs a transaction while it blocks others, also after another, and keeps no socket', async () => {
  const imports = `import { sql } from 'drizzle-orm';\n`;
  const route = `app.get('/enter', async (c) => {
    const room = env.ROOM.getByName('one');
    await room.enter('Ada');
    return c.json(await room.enter('Ada'));
  });\n`;
  const worker = await startChanged(
    'durable-object',
    'functions/worker.ts',
    [
      ['{ app }', '{ app, database }'],
      ['export default app;\n', `${imports}${route}${blockWith('extends DurableObject')}export default app;\n`],
    ],
    { durableObjects: { ROOM: 'Room' } },
  );
  const { sockets } = gateway.stats();
  const response = await worker.fetch('/enter', { headers, signal: AbortSignal.timeout(PATIENCE) });
  expect(response.status).toBe(200);
  expect(gateway.stats().sockets).toBe(sockets + 2);
  await vi.waitFor(() => expect(gateway.stats().openSockets).toBe(0), PATIENCE);
});

it('OpenTelemetry is told of every exchange, and of what failed', async () => {
  const outfile = path.join(path.dirname(inject('workerBundle')), 'telemetry.mjs');
  const api: Plugin = {
    name: 'api',
    setup(bundler) {
      bundler.onResolve({ filter: /^@opentelemetry\/api$/ }, (args) => ({ path: args.path, namespace: 'api' }));
      bundler.onLoad({ filter: /./, namespace: 'api' }, () => ({ contents: OPEN_TELEMETRY }));
    },
  };
  const contents = `${blockWith('createHistogram')}export { told } from '@opentelemetry/api';`;
  await build({ stdin: { contents, loader: 'ts' }, outfile, bundle: true, format: 'esm', plugins: [api] });
  const { recordQuery, told } = (await import(pathToFileURL(outfile).href)) as {
    recordQuery: (event: QueryEvent) => void;
    told: object[];
  };
  const transports = { http: neonHttp() };
  const events: QueryEvent[] = [];
  const onQuery = (event: QueryEvent) => {
    events.push(event);
    recordQuery(event);
  };
  const db = createDatabase({ url: database.url, schema: {}, transports, sockets: 'instance' }).forRequest({ onQuery });
  await db.execute('select 1');
  await db.execute('select 1 / 0').catch(() => {});
  const attributes = { 'db.system.name': 'postgresql', 'db.operation.name': 'one-shot', 'my_app.db.transport': 'http' };
  const failed = { ...attributes, 'error.type': '22012' };
  const [first = 0, second = 0] = events.map(({ ms }) => ms / 1_000);
  expect(told).toEqual([
    { name: 'db.client.operation.duration', value: first, attributes },
    { name: 'one-shot', attributes },
    { name: 'db.client.operation.duration', value: second, attributes: failed },
    { name: 'one-shot', attributes: failed, status: { code: 2 } },
  ]);
});

/** Stands for `@opentelemetry/sdk-node`. */
const SDK = `
export class NodeSDK {
  start() {}
  async shutdown() {
    await new Promise(setImmediate);
    console.log('sent');
  }
}`;

/** A route that answers when the process is told to end. */
const LATE = `
healthRoutes.get('/late', (c) => {
  console.log('asked');
  return new Promise((resolve) => process.once('SIGTERM', () => setImmediate(resolve, c.text(''))));
});`;

// On Windows no signal can tell it to end.
it.skipIf(process.platform === 'win32')('OpenTelemetry on Node is told of the last request, too', async () => {
  const module = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;
  const node = await readFile(NODE, 'utf8');
  const health = await readFile(path.join(ROOT, 'src/routes/health.ts'), 'utf8');
  const sources = {
    '/functions/node.ts': `import './instrument.ts';${node}`,
    '/routes/health.ts': health + LATE,
  };
  const modules = { './instrument.ts': module(blockWith('new NodeSDK')), '@opentelemetry/sdk-node': module(SDK) };
  const preload = `
    import { registerHooks } from 'node:module';
    const modules = ${JSON.stringify(modules)};
    registerHooks({
      resolve: (name, context, next) => (modules[name] ? { url: modules[name], shortCircuit: true } : next(name, context)),
      load(url, context, next) {
        const [, source] = Object.entries(${JSON.stringify(sources)}).find(([file]) => url.endsWith(file)) ?? [];
        return { ...next(url, context), ...(source && { source }) };
      },
    });`;
  const server = await startServer({ databaseUrl: database.url, apiToken }, ['--import', module(preload), NODE]);
  running.push(server);
  const lines: string[] = [];
  const asked = new Promise<void>((resolve) => {
    createInterface(server.process.stdout as Readable).on('line', (line) => {
      lines.push(line.startsWith('{') ? 'answered' : line);
      if (line === 'asked') resolve();
    });
  });
  const late = server.fetch('/health/late');
  await asked;
  const closed = once(server.process, 'close');
  server.process.kill('SIGTERM');
  expect((await late).status).toBe(200);
  expect(await closed).toEqual([0, null]);
  expect(lines).toEqual(['asked', 'answered', 'sent']);
});

it('a browser is told what it may do, also where a request is refused', async () => {
  const log = '    .use(requestLog())\n';
  const routes = `    .route('/health', healthRoutes)\n`;
  const kept = `    .get('/kept', (c) => c.json([], 200, { 'Cache-Control': 'max-age=60' }))
    .get('/elsewhere', () => Response.redirect('https://example.org'))
    .get('/passed-on', (c) => fetch(new URL('/health/live', c.req.url)))
    .get('/nothing', (() => ({ id: 1 })) as never)\n`;
  const worker = await startChanged('cors', 'src/create-app.ts', [
    [`import { Hono } from 'hono';\n`, `import { Hono } from 'hono';\n${blockWith(`'hono/cors'`)}`],
    [log, blockWith(log)],
    [routes, routes + kept],
  ]);
  const headers = { Origin: 'https://app.example.com' };
  const asked = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization' };
  const preflight = await worker.fetch('/transfers', { method: 'OPTIONS', headers: { ...headers, ...asked } });
  expect([preflight.status, preflight.headers.get('Cache-Control')]).toEqual([204, 'no-store']);
  expect(preflight.headers.get('Access-Control-Allow-Origin')).toBe(headers.Origin);
  expect(preflight.headers.get('Access-Control-Allow-Methods')).toContain('POST');
  expect(preflight.headers.get('Access-Control-Allow-Headers')).toBe('authorization');

  const readable = async (path: string, init: RequestInit = {}) => {
    const response = await worker.fetch(path, { ...init, headers, redirect: 'manual' });
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe(headers.Origin);
    expect(response.headers.get('Access-Control-Expose-Headers')).toBe(
      'X-Request-Id,Location,Retry-After,Idempotency-Replayed',
    );
    return [response.status, response.headers.get('Cache-Control')];
  };
  expect(await readable('/transfers', { method: 'POST' })).toEqual([401, 'no-store']);
  expect(await readable('/kept')).toEqual([200, 'max-age=60']);
  expect(await readable('/elsewhere')).toEqual([302, 'no-store']);
  expect(await readable('/passed-on')).toEqual([200, 'no-store']);
  expect(await readable('/nothing')).toEqual([500, 'no-store']);

  const stranger = await worker.fetch('/transfers', { method: 'POST', headers: { Origin: 'https://example.org' } });
  expect(stranger.headers.get('Access-Control-Allow-Origin')).toBeNull();
});

it('users log in with tokens of their own', async () => {
  const caller = `    .use((c, next) => {\n      c.set('caller', CALLER);\n      return next();\n    })\n`;
  const worker = await startChanged('users', 'src/create-app.ts', [
    [`import { Hono } from 'hono';\n`, `import { Hono } from 'hono';\n${blockWith(`'hono/jwt'`)}`],
    [
      TOKEN_CHECK + caller,
      blockWith('bearerAuth({ token: cronSecret')
        .replace('cronSecret', `'secret-of-the-cron'`)
        .replace('nightlyRoutes', `new Hono<AppEnv>().get('/', (c) => c.body(null, 204))`) +
        blockWith('.use(jwt(').replace('jwtSecret', 'apiToken'),
    ],
  ]);
  const nightly = (token: string) => worker.fetch('/nightly', { headers: { Authorization: `Bearer ${token}` } });
  expect((await nightly('secret-of-the-cron')).status).toBe(204);
  expect((await nightly(await sign({ sub: 'ada' }, apiToken, 'HS256'))).status).toBe(401);
  const status = async (claims: { sub?: string }, secret = apiToken) => {
    const headers = { Authorization: `Bearer ${await sign(claims, secret, 'HS256')}` };
    return (await worker.fetch('/accounts', { headers })).status;
  };
  expect(await status({ sub: 'ada' })).toBe(200);
  expect(await status({})).toBe(401);
  expect(await status({ sub: 'ada' }, 'another-token-0123456789')).toBe(401);
  const { status: refused, headers } = await worker.fetch('/accounts');
  expect([refused, headers.get('WWW-Authenticate')]).toEqual([401, expect.stringMatching(/^Bearer realm="api"/)]);
});

it('a route before the limit takes a larger body, and the others do not', async () => {
  const limit = '    .use(limitBody(MAX_BODY_BYTES))\n';
  const larger = blockWith(`'/imports/*'`).replace('importRoutes', 'accountRoutes');
  const worker = await startChanged('larger', 'src/create-app.ts', [[limit, larger + limit]]);
  const body = JSON.stringify({ name: 'x'.repeat(70_000) });
  const post = (path: string) =>
    worker.fetch(path, { method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body });
  expect((await post('/imports')).status).toBe(400);
  expect((await post('/accounts')).status).toBe(413);
});

it('an export has every row, page by page, and breaks off if a page fails', async () => {
  const code = blockWith('exportNotes(db')
    .replaceAll(/^import .*\n/gm, '')
    .replaceAll('notes.', 'accounts.')
    .replace('from(notes)', 'from(accounts)');
  const route = blockWith(`.get('/export'`);
  const failing = (text: string) =>
    text
      .replace('exportNotes', 'exportSome')
      .replace('/export', '/some')
      .replace('controller.close()', 'throw new Error()');
  const worker = await startChanged('export', 'src/routes/accounts.ts', [
    [
      'import { Hono }',
      `import { asc, gt } from 'drizzle-orm';
import type { Queryable } from '../db/database.ts';
import { accounts } from '../ledger/schema.ts';
import { Hono }`,
    ],
    ['/** One-shot', `${code}${failing(code.replaceAll(/^const .*\n/gm, ''))}\n/** One-shot`],
    [`  .get('/:id'`, `${route}${failing(route)}  .get('/:id'`],
  ]);
  await database.query(`insert into accounts (id, name, currency)
    select gen_random_uuid(), 'exported', 'EUR' from generate_series(1, 2500)`);
  const rows = await database.query('select id from accounts order by id');
  const { requests } = gateway.stats();
  const response = await worker.fetch('/accounts/export', { headers });
  const lines = (await response.text()).trimEnd().split('\n');
  expect(lines.map((line) => ({ id: (JSON.parse(line) as { id: string }).id }))).toEqual(rows);
  expect(gateway.stats().requests).toBe(requests + 3);
  const some = await worker.fetch('/accounts/some', { headers });
  expect(some.status).toBe(200);
  await expect(some.text()).rejects.toThrow('terminated');
});

it('what is in the outbox is sent once, by one of several, and again if that failed', async () => {
  const outfile = path.join(path.dirname(inject('workerBundle')), 'outbox.mjs');
  const contents = blockWith("pgTable(\n  'outbox'") + blockWith('sendNext =').replace(/^.*schema\.ts.*$/m, '');
  await build({ stdin: { contents, loader: 'ts', resolveDir: ROOT }, outfile, bundle: true, format: 'esm' });
  const { sendNext } = (await import(pathToFileURL(outfile).href)) as {
    sendNext: (db: Pick<Queryable, 'transaction'>, send: (payload: unknown) => Promise<void>) => Promise<boolean>;
  };
  await database.query(`
    create table outbox (id bigint generated always as identity, payload jsonb, due_at timestamptz default now());
    insert into outbox (payload) values ('"lost"'), ('"first"'), ('"second"');
    grant select, update, delete on outbox to app`);
  const db = createDatabase({
    url: database.url,
    schema: {},
    transports: { websocket: neonWebSocket() },
    sockets: 'instance',
  });
  const asked: unknown[] = [];
  const both = Promise.withResolvers<void>();
  const send = async (payload: unknown) => {
    if (asked.push(payload) === 2) both.resolve();
    await both.promise;
    if (payload === 'lost') throw new Error('nobody answers');
  };
  const job = async () => {
    while (await sendNext(db, send));
  };
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  await Promise.all([job(), job()]);
  expect(log.mock.calls).toEqual([[new Error('nobody answers')]]);
  log.mockRestore();
  expect([asked.length, new Set(asked)]).toEqual([3, new Set(['lost', 'first', 'second'])]);
  const left = `select payload, due_at > now() + interval '50 s' as later from outbox`;
  expect(await database.query(left)).toEqual([{ payload: 'lost', later: true }]);
  await db.close();
});

it('a foreign key leads to rows of other tenants, unless it names the tenant', async () => {
  const [mine, other, book] = [randomUUID(), randomUUID(), randomUUID()];
  const keys = [...blockWith('foreignKey(').matchAll(/\w+\.(\w+)/g)].map(([, name = '']) => name.replace('I', '_i'));
  const [unique, columns, foreign] = [keys.slice(0, 2), keys.slice(2, 4), keys.slice(4)];
  await database.query(`
    create table books (id uuid primary key, tenant_id uuid, unique (${unique.join()}));
    create table plain (tenant_id uuid, book_id uuid references books);
    create table strict (tenant_id uuid, book_id uuid, foreign key (${columns.join()}) references books (${foreign.join()}));
    insert into books values ('${book}', '${other}')`);
  const refer = (table: string, tenant: string) =>
    database.query(`insert into ${table} values ($1, $2)`, [tenant, book]);
  await refer('plain', mine);
  await refer('strict', other);
  await expect(refer('strict', mine)).rejects.toThrow('violates foreign key constraint');
});

it('a date is one that the database takes', async () => {
  const outfile = path.join(path.dirname(inject('workerBundle')), 'date.mjs');
  const contents = `import * as v from 'valibot';\n${blockWith('isDay =')}${blockWith('isInstant =')}
    export const isTaken = (text) => v.is(day, text);
    export const dateOf = (text) => v.is(instant, text) && new Date(text);`;
  await build({ stdin: { contents, loader: 'ts', resolveDir: ROOT }, outfile, bundle: true, format: 'esm' });
  const { isTaken, dateOf } = (await import(pathToFileURL(outfile).href)) as {
    isTaken: (text: string) => boolean;
    dateOf: (text: string) => Date | false;
  };
  const days = ['0000-12-31', '0001-01-01', '1900-02-29', '2000-02-29', '2027-02-30', '2027-04-31', '9999-12-31'];
  const read = days.map((day) => database.query('select $1::date', [day]));
  const taken = (await Promise.allSettled(read)).map(({ status }) => status === 'fulfilled');
  expect(days.map(isTaken)).toEqual(taken);
  expect(taken).toEqual([false, true, false, true, false, false, true]);

  const instants = ['2027-12-31T23:59:59Z', '2028-02-29T00:00:00.123456+01:00', '0001-01-01 00:00:00-23:59'].map(
    dateOf,
  );
  const dates = instants.map((date) =>
    database.query('select $1::timestamptz as kept', [(date as Date).toISOString()]),
  );
  expect((await Promise.all(dates)).map(([row]) => row?.['kept'])).toEqual(instants);
  const others = [
    '2027-02-30T00:00:00Z',
    '2027-12-31T23:59:59+01',
    '2027-12-31T23:59:59 +01:00',
    '2027-12-31T24:00:00Z',
  ];
  others.push('0000-12-31T23:59:59Z', '0001-01-01T00:00:00+14:00', '9999-12-31T23:59:59-14:00');
  expect(others.filter(dateOf)).toEqual([]);
});

it('a tenant finds its own rows, in a batch and in a transaction, and a one-shot none', async () => {
  const outfile = path.join(path.dirname(inject('workerBundle')), 'tenant.mjs');
  const contents = `import { sql } from 'drizzle-orm';\n${blockWith('asTenant =')}`;
  await build({ stdin: { contents, loader: 'ts', resolveDir: ROOT }, outfile, bundle: true, format: 'esm' });
  const { asTenant } = (await import(pathToFileURL(outfile).href)) as {
    asTenant: (db: Pick<Queryable, 'execute'>, tenant: string) => ReturnType<Queryable['execute']>;
  };
  const [, policy = ''] = /using: sql`(.*)`/.exec(blockWith('pgPolicy(')) ?? [];
  const [mine, other] = [randomUUID(), randomUUID()];
  await database.query(`
    create table notes (tenant_id uuid);
    insert into notes values ('${mine}'), ('${other}');
    alter table notes enable row level security;
    create policy of_tenant on notes using (${policy});
    grant select, insert on notes to app`);
  const transports = { http: neonHttp(), websocket: neonWebSocket() };
  const db = createDatabase({ url: database.url, schema: {}, transports, sockets: 'instance' });
  const notes = (on: Pick<Queryable, 'select'>) => on.select({ tenant: sql`tenant_id` }).from(sql`notes`);
  const [, batch] = await db.batch([asTenant(db, mine), notes(db)]);
  const transaction = await db.transaction(async (tx) => {
    await asTenant(tx, mine);
    return notes(tx);
  });
  expect([batch, transaction, await notes(db)]).toEqual([[{ tenant: mine }], [{ tenant: mine }], []]);
  // As an export reads its pages, which is retried.
  const [, page] = await db.batch([asTenant(db, mine), notes(db)], { accessMode: 'read only' });
  expect([page, await notes(db.replica)]).toEqual([[{ tenant: mine }], []]);
  const insert = db.batch([asTenant(db, mine), db.execute(sql`insert into notes values (${other}::uuid)`)]);
  await expect(insert).rejects.toThrow('violates row-level security policy');
  await db.close();
});

it('a webhook is let in by its signature, and what a route leaves for later is done', async () => {
  const routes = blockWith('const signed =')
    .replaceAll(/^import .*(Hono|AppEnv|Problem).*\n/gm, '')
    .replace('../middleware', './middleware')
    .replace('./schemas', './routes/schemas')
    .replace('// what is to be done', WORK);
  const limit = `    .use(requestDatabase(access))\n`;
  const worker = await startChanged('webhook', 'src/create-app.ts', [
    ['export type AppDatabase =', `${routes}const webhookSecret = 'signed by me';\nexport type AppDatabase =`],
    ['{ answerProblem, Problem }', '{ answerProblem, logError, Problem }'],
    [limit, limit + blockWith(`c.set('later'`)],
    [TOKEN_CHECK, blockWith(`.route('/webhooks'`) + TOKEN_CHECK],
  ]);
  const signatureOf = (text: string, secret = 'signed by me') =>
    createHmac('sha256', secret).update(text).digest('hex');
  const send = async (text: string, signature = signatureOf(text)) => {
    const headers = { 'Content-Type': 'application/json', 'X-Signature': signature };
    return (await worker.fetch('/webhooks/paid', { method: 'POST', body: text, headers })).status;
  };
  const names = async () => (await database.query('select name from accounts')).map(({ name }) => name as string);
  expect(await send('{"customer":"Ada"}', signatureOf('{"customer":"Ada"}', 'somebody else'))).toBe(403);
  expect(await send('{"customer":1}', signatureOf('{"customer":1}').toUpperCase())).toBe(400);
  expect(await send(JSON.stringify({ customer: 'x'.repeat(70_000) }))).toBe(413);
  expect((await worker.fetch('/webhooks/paid', { method: 'POST', body: '{}' })).status).toBe(403);

  const superuser = new URL(inject('stack').superuser);
  superuser.pathname = new URL(database.url).pathname;
  const other = new pg.Client(superuser.href);
  await other.connect();
  await other.query('begin; lock table accounts');
  expect(await send('{"customer":"Ada"}')).toBe(204); // nobody waits for what waits for the lock
  await other.end();
  await vi.waitFor(async () => expect(await names()).toContain('Ada'), PATIENCE);
  expect((await worker.fetch('/accounts')).status).toBe(401);
});
