import { Client, neon, neonConfig, Pool } from '@neondatabase/serverless';
import type { Provider } from '../../local/gateway-routes.ts';

/**
 * Everything that the driver does, set up as other projects have it reach a local gateway, and what came of it: the same in
 * every runtime.
 */
export async function useDriver(url: string, provider: Provider): Promise<Record<string, unknown>> {
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  neonConfig.wsProxy = (host, port) =>
    provider === 'neon' ? `${host}:${port}/v2` : `${host}:${port}/v2?address=${host}:${port}`;
  neonConfig.useSecureWebSocket = false;
  neonConfig.pipelineConnect = provider === 'neon' ? 'password' : false;
  return { ...(await overHttp(url)), pool: await throughPool(url), ...(await throughClient(url)) };
}

const VALUES = `select $1::int as int, 9007199254740993 as bigint, 1.10 as numeric, true as bool, $2::text[] as list,
  '{"a": [1, null]}'::jsonb as json, '2026-11-22T12:00:00Z'::timestamptz as time, '\\x00ff'::bytea as bytes, null as nothing`;
const PARAMS = [1, ['a"b', null, 'c,d', 'ü☃']];

const WRONG = `insert into notes values (1, 'a'), (1, 'b')`;

async function overHttp(url: string): Promise<Record<string, unknown>> {
  const sql = neon(url);
  const full = neon(url, { fullResults: true, arrayMode: true });
  return {
    tagged: await sql`select ${1}::int + ${2}::int as three, ${['a', null]}::text[] as list`,
    query: await sql.query(VALUES, PARAMS),
    full: await full.query(VALUES, PARAMS),
    httpError: await failure(sql.query(WRONG)),
    transaction: await sql.transaction(
      [
        sql`select current_setting('transaction_isolation') as level`,
        sql`select current_setting('transaction_read_only') as read_only`,
        sql`select current_setting('transaction_deferrable') as deferrable`,
      ],
      { isolationLevel: 'Serializable', readOnly: true, deferrable: true },
    ),
    transactionError: await failure(sql.transaction([sql`select 1`, sql`select 1 / ${0}::int`])),
    passwordError: await failure(neon(withPassword(url, 'wrong'))`select 1`),
  };
}

async function throughPool(url: string): Promise<unknown> {
  const pool = new Pool({ connectionString: url, max: 2 });
  const answers = await Promise.all([1, 2, 3].map((n) => pool.query('select $1::int as n', [n])));
  await pool.end();
  return answers.map(({ rows }) => rows as unknown);
}

async function throughClient(url: string): Promise<Record<string, unknown>> {
  const client = new Client(url);
  const said: unknown[] = [];
  const heard = new Promise((resolve) => {
    client.on('notification', ({ channel, payload }) => resolve({ channel, payload }));
  });
  client.on('notice', ({ message, severity }) => said.push({ message, severity }));
  await client.connect();
  const { command, rowCount, rows, fields } = await client.query(VALUES, PARAMS);

  await client.query('begin isolation level repeatable read');
  const inTransaction = await client.query(`select current_setting('transaction_isolation') as level`);
  const error = await failure(client.query(WRONG));
  const aborted = await failure(client.query('select 1'));
  const { command: committed } = await client.query('commit'); // of what has failed

  await client.query(`do $$ begin raise warning 'said'; end $$`);
  await client.query('listen heard');
  await client.query(`select pg_notify('heard', 'hello')`);
  const large = await client.query<{ text: string }>(`select repeat('ü', 1000) as text from generate_series(1, 2000)`);
  const results = {
    client: { command, rowCount, rows: rows as unknown, fields },
    inTransaction: inTransaction.rows as unknown,
    clientError: error,
    aborted,
    committed,
    said,
    heard: await heard,
    large: large.rows.reduce((sum, { text }) => sum + text.length, 0),
  };
  await client.end();
  const stranger = new Client(withPassword(url, 'wrong'));
  stranger.on('error', () => {});
  const refused = await failure(stranger.connect().then(() => stranger.query('select 1')));
  return { ...results, refused };
}

/** The fields of what a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    return { succeeded: await promise };
  } catch (error) {
    const { name, message } = error as Error;
    return { ...(error as object), name, message };
  }
}

function withPassword(url: string, password: string): string {
  const changed = new URL(url);
  changed.password = password;
  return changed.href;
}
