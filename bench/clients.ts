import { type Client as DriverClient, neon, neonConfig, Pool as NeonPool } from '@neondatabase/serverless';
import { sql } from 'drizzle-orm';
import { drizzle as drizzleNeonHttp } from 'drizzle-orm/neon-http';
import { drizzle as drizzleNeonServerless } from 'drizzle-orm/neon-serverless';
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { createDatabase } from '../src/db/database.ts';
import { fastClient } from '../src/db/fast/client.ts';
import { pipelinedClient } from '../src/db/fast/pipelined.ts';
import { neonHttp } from '../src/db/http.ts';
import { tcp } from '../src/db/tcp.ts';
import type { Transports } from '../src/db/transport.ts';
import { neonWebSocket } from '../src/db/websocket.ts';
import { DEMO_ACCOUNTS } from '../src/ledger/demo-data.ts';
import * as schema from '../src/ledger/schema.ts';
import { makeTransfer } from '../src/ledger/transfers.ts';
import { openBareWebSocket } from './bare-web-socket.ts';
import {
  ACCOUNT,
  ACCOUNTS,
  expectRows,
  type Operation,
  OPERATIONS,
  readNewestTransfer,
  selectAccount,
  STATEMENTS,
  statementTexts,
} from './operations.ts';
import { transferInOneStatement } from './transfer-cte.ts';

export type Auth = 'neon' | 'planetscale';

/** A client that is set up; it connects when it is first used. */
export interface OpenClient {
  operations: Partial<Record<Operation, () => Promise<unknown>>>;
  /** Closes what it has opened. */
  close(): Promise<unknown>;
}

interface BenchClient {
  /** Where it connects to: the gateway, or PostgreSQL itself over TCP. */
  route: 'gateway' | 'tcp';
  /** The log-ins it is measured with. TCP knows SCRAM alone. */
  auths: readonly Auth[];
  /** What it is compared in: all that it can do, unless another row says the same. */
  operations: readonly (typeof OPERATIONS)[number][];
  open(url: string, auth: Auth): OpenClient;
}

const BOTH = ['neon', 'planetscale'] as const;
const SCRAM = ['planetscale'] as const;
const HTTP = ['one-shot', 'batch'] as const;
/** What the other operations go over is the same for each `Client`. */
const SOCKET = ['transaction'] as const;

export const CLIENTS = {
  'neon()': { route: 'gateway', auths: BOTH, operations: HTTP, open: openNeon },
  'drizzle neon-http': { route: 'gateway', auths: BOTH, operations: HTTP, open: openDrizzleNeonHttp },
  'drizzle neon-serverless': {
    route: 'gateway',
    auths: BOTH,
    operations: OPERATIONS,
    open: openDrizzleNeonServerless,
  },
  pg: { route: 'tcp', auths: SCRAM, operations: OPERATIONS, open: openPg },
  /** With the transports that the entries in `functions/` name. */
  db: { route: 'gateway', auths: BOTH, operations: OPERATIONS, open: openDb(fastClient()) },
  'db without fast': { route: 'gateway', auths: SCRAM, operations: SOCKET, open: openDb() },
  'db, SCRAM pipelined': {
    route: 'gateway',
    auths: SCRAM,
    operations: SOCKET,
    open: openDb(pipelinedClient()),
  },
  'db tcp': { route: 'tcp', auths: SCRAM, operations: OPERATIONS, open: (url) => openDatabase(url, { tcp: tcp() }) },
  /** What a socket costs by itself. */
  'a bare WebSocket': { route: 'gateway', auths: ['neon'], operations: [], open: openBare },
} as const satisfies Record<string, BenchClient>;

export type ClientName = keyof typeof CLIENTS;

const texts = statementTexts(drizzlePg.mock());

function openNeon(url: string): OpenClient {
  configureDriver('neon');
  const query = neon(url);
  return {
    operations: {
      'one-shot': async () => expectRows(1, await query.query(texts.account, [ACCOUNT])),
      batch: async () => expectRows(5, await query.transaction(ACCOUNTS.map((id) => query.query(texts.account, [id])))),
    },
    close: async () => {},
  };
}

function openDrizzleNeonHttp(url: string): OpenClient {
  configureDriver('neon');
  const db = drizzleNeonHttp(neon(url));
  const [first, second, third, fourth, fifth] = ACCOUNTS;
  return {
    operations: {
      'one-shot': async () => expectRows(1, await selectAccount(db, ACCOUNT)),
      batch: async () =>
        expectRows(
          5,
          await db.batch([
            selectAccount(db, first),
            selectAccount(db, second),
            selectAccount(db, third),
            selectAccount(db, fourth),
            selectAccount(db, fifth),
          ]),
        ),
    },
    close: async () => {},
  };
}

/** As in the driver's own example for Workers: a pool, used once where it is cold. */
function openDrizzleNeonServerless(url: string, auth: Auth): OpenClient {
  configureDriver(auth);
  const pool = new NeonPool({ connectionString: url });
  pool.on('error', () => {});
  const db = drizzleNeonServerless(pool);
  return {
    operations: {
      'one-shot': async () => expectRows(1, await selectAccount(db, ACCOUNT)),
      // It has no batch. What is atomic is a transaction, and its statements wait for each other in the driver.
      batch: () =>
        db.transaction(async (tx) => expectRows(5, await Promise.all(ACCOUNTS.map((id) => selectAccount(tx, id))))),
      transaction: () => db.transaction(readNewestTransfer),
      statements: () =>
        db.transaction(async (tx) => {
          for (let i = 0; i < STATEMENTS; i++) await tx.execute(sql`select 1`);
        }),
    },
    close: () => pool.end(),
  };
}

function openPg(url: string): OpenClient {
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => {});
  const inTransaction = async (work: (client: pg.PoolClient) => Promise<unknown>) => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      await work(client);
      await client.query('commit');
    } finally {
      client.release();
    }
  };
  const one = async (client: pg.Pool | pg.PoolClient, text: string, params: unknown[]) => {
    const { rows } = await client.query<Record<string, unknown>>(text, params);
    return expectRows(1, rows)[0] ?? {};
  };
  return {
    operations: {
      'one-shot': () => one(pool, texts.account, [ACCOUNT]),
      batch: () =>
        inTransaction(async (client) => {
          for (const id of ACCOUNTS) await one(client, texts.account, [id]);
        }),
      transaction: () =>
        inTransaction(async (client) => {
          const account = await one(client, texts.account, [ACCOUNT]);
          const entry = await one(client, texts.entry, [account['id'], account['sequence']]);
          await one(client, texts.transfer, [entry['transfer_id']]);
        }),
      statements: () =>
        inTransaction(async (client) => {
          for (let i = 0; i < STATEMENTS; i++) await client.query('select 1', []);
        }),
    },
    close: () => pool.end(),
  };
}

function openBare(url: string): OpenClient {
  const socket = openBareWebSocket(url);
  const statements = ['begin', ...Array.from({ length: STATEMENTS }, () => 'select 1'), 'commit'];
  return { operations: { statements: () => socket.run(statements) }, close: () => socket.close() };
}

function openDb(Client?: typeof DriverClient): BenchClient['open'] {
  const websocket = neonWebSocket({ Client });
  return (url) => openDatabase(url, { http: neonHttp(), websocket });
}

function openDatabase(url: string, transports: Transports): OpenClient {
  const database = createDatabase({ url, schema, transports, sockets: 'instance' });
  const { alice, bank } = DEMO_ACCOUNTS;
  const [first, second, third, fourth, fifth] = ACCOUNTS;
  const transfer = { fromAccountId: bank, toAccountId: alice, amount: 1, currency: 'EUR' };
  const idempotency = () => ({ caller: 'bench', key: crypto.randomUUID() });
  // As a request uses it.
  const scope = () => database.forRequest({});
  return {
    operations: {
      'one-shot': async () => expectRows(1, await selectAccount(scope(), ACCOUNT)),
      async batch() {
        const db = scope();
        const results = await db.batch([
          selectAccount(db, first),
          selectAccount(db, second),
          selectAccount(db, third),
          selectAccount(db, fourth),
          selectAccount(db, fifth),
        ]);
        return expectRows(5, results);
      },
      transaction: () => scope().transaction(readNewestTransfer),
      statements: () =>
        scope().transaction(async (tx) => {
          for (let i = 0; i < STATEMENTS; i++) await tx.execute(sql`select 1`);
        }),
      async transfer() {
        const { outcome } = await makeTransfer(scope(), idempotency(), transfer);
        if ('refused' in outcome) throw new Error(outcome.refused.detail);
      },
      async 'transfer as one CTE'() {
        const { rows } = await scope().execute(transferInOneStatement(idempotency(), transfer));
        if (rows[0]?.['claimed'] !== true || rows[0]['refusal'] !== null) throw new Error('the CTE made no transfer');
      },
    },
    close: () => database.close(),
  };
}

/** As each provider's documentation sets the driver up, but for TLS. */
function configureDriver(auth: Auth): void {
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  neonConfig.wsProxy = (host, port) => `${host}:${port}/v2?address=${host}:${port}`;
  neonConfig.useSecureWebSocket = false;
  neonConfig.pipelineConnect = auth === 'neon' ? 'password' : false;
}
