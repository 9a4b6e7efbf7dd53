import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { GSS_REQUEST, int32, readBytes, SSL_REQUEST, startupMessage } from '../../local/postgres-messages.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { CREATE_NOTES } from '../db/ways.ts';
import { startFaultProxy } from '../fault-proxy.ts';
import { errorFields, logInMessages, message, overWebSocket, query, typeOf, untilStill } from './wire.ts';

// A test for each thing that is known of how Neon's proxy answers: https://github.com/neondatabase/neon proxy/src/serverless

let gateway: Gateway;
let test: TestDatabase;
const KIB = 1024;
const limits = { maxRequestBytes: 256 * KIB, maxResponseBytes: 256 * KIB };

beforeAll(async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  gateway = await startGateway({ upstream, port: 0, limits });
  test = await createEmptyDatabase(gateway.port);
  await test.query(`${CREATE_NOTES}; alter table notes owner to app_owner`);
});

afterAll(async () => {
  await test.close();
  await gateway.close();
});

const post = (body: unknown, headers: Record<string, string> = {}, init: RequestInit = {}) =>
  fetch(`${gateway.url}/sql`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'Neon-Connection-String': test.url, ...headers },
    ...init,
  });

interface Answer {
  command: string;
  rowCount: number | null;
  rows: Record<string, unknown>[] & unknown[][];
  rowAsArray: boolean;
  fields: { name: string }[];
  results: Answer[];
  message: string;
  code: string;
  [field: string]: unknown;
}

const ask = async (body: unknown, headers: Record<string, string> = {}) => {
  const response = await post(body, headers);
  return { status: response.status, headers: response.headers, body: (await response.json()) as Answer };
};

/** The one value of a query of one column, as JSON. */
const value = async (sql: string, params: unknown[] = [], headers: Record<string, string> = {}) => {
  const { body } = await ask({ query: sql, params }, { 'Neon-Array-Mode': 'true', ...headers });
  if (!body.rows) throw new Error(body.message);
  return body.rows[0]?.[0];
};

describe('POST /sql takes', () => {
  it('a request without a Content-Type', async () => {
    const response = await post('', {}, { body: new Blob(['{"query":"select 1 as one","params":[]}']) });
    expect(response.status).toBe(200);
  });

  it('a query without parameters, with null parameters and with an array mode of its own', async () => {
    expect((await ask({ query: 'select 1 as one' })).body.rows).toEqual([{ one: 1 }]);
    expect((await ask({ query: 'select $1::int as one', params: [null] })).body.rows).toEqual([{ one: null }]);
    expect((await ask({ query: 'select 1 as one', params: [], arrayMode: true })).body.rows).toEqual([[1]]);
    const arrays = { 'Neon-Array-Mode': 'true' };
    expect((await ask({ query: 'select 1 as one', arrayMode: false }, arrays)).body.rows).toEqual([{ one: 1 }]);
  });

  it('parameters of every kind of JSON as text', async () => {
    const kinds = ['text', 1.5, true, null, { a: ['b'] }];
    for (const param of kinds) {
      const expected = param === null || typeof param === 'string' ? param : JSON.stringify(param);
      expect(await value('select $1::text', [param])).toBe(expected);
    }
  });

  it('whole numbers of 64 bits as they are written, which JavaScript would round', async () => {
    const number = '9007199254740993';
    for (const [type, param, text = param] of [
      ['int8', number],
      ['int8', '-9223372036854775808'],
      ['numeric', '18446744073709551615'],
      ['int8[]', `[${number}]`, `{${number}}`],
      ['jsonb', `{"a": [${number}, 1.5]}`],
      ['text', `"${number}"`, number],
    ]) {
      const { body } = await ask(`{"query": "select ($1::${type})::text as text", "params": [${param}]}`);
      expect(body.rows).toEqual([{ text }]);
    }
  });

  it('floats that are whole as floats, which PostgreSQL takes for no integers', async () => {
    for (const [param, text = param] of [
      ['1.0'],
      ['-2.00', '-2.0'],
      ['1.5e1', '15.0'],
      ['{"a":1.0}'],
      ['[1.0, 2, 9007199254740993]', '{1.0,2,9007199254740993}'],
    ]) {
      const { body } = await ask(`{"query": "select $1::text as text", "params": [${param}]}`);
      expect(body.rows).toEqual([{ text }]);
    }
    const integer = await ask('{"query": "select $1::int", "params": [1.0]}');
    expect(integer).toMatchObject({ status: 400, body: { code: '22P02' } });
  });

  it('arrays as array literals, escaped, nested, with NULL and objects', async () => {
    const list = ['plain', 'a,b', '{c}', 'd"e', 'f\\g', '', 'NULL', null];
    expect(await value('select $1::text[]', [list])).toEqual(list);
    expect(await value('select $1::text[]', [['h\ni']])).toEqual(['hni']);
    expect(
      await value('select $1::int[]', [
        [
          [1, 2],
          [3, null],
        ],
      ]),
    ).toEqual([
      [1, 2],
      [3, null],
    ]);
    expect(await value('select $1::bool[]', [[true, false]])).toEqual([true, false]);
    expect(await value('select $1::jsonb[]', [[{ a: '"' }]])).toEqual([{ a: '"' }]);
    expect(await value('select $1::text', [[1, 'x']])).toBe('{1,"x"}');
  });

  it('one statement a query, and no more parameters than a message can hold', async () => {
    expect(await ask({ query: 'select 1; select 2', params: [] })).toMatchObject({
      status: 400,
      body: { code: '42601', message: 'cannot insert multiple commands into a prepared statement' },
    });
    const zeros = (length: number) => Array.from({ length }, () => 0);
    const { body: answer } = await ask({ query: 'select 1', params: zeros(65_535) });
    expect(answer.message).toMatch(/^bind message supplies 65535 parameters/);
    for (const [body, message] of [
      [{ query: 'select 1\0', params: [] }, 'the query contains a null byte'], // which would end it
      [{ query: 'select 1', params: zeros(65_536) }, 'more than 65535 parameters'],
    ]) {
      expect(await ask(body)).toMatchObject({ status: 400, body: { code: '', message } });
    }
  });

  it('only user, password and database from the connection string: options do nothing', async () => {
    const url = `${test.url.replace('/test_', '/test%5F')}/more?options=-c%20statement_timeout%3D7`;
    expect(await value('show statement_timeout', [], { 'Neon-Connection-String': url })).toBe('30s');
  });
});

describe('POST /sql answers', () => {
  it('with the command, the count, the rows and the columns', async () => {
    const table = (await test.query<{ id: number }>(`select 'notes'::regclass::oid::int as id`))[0]?.id;
    const { status, headers, body } = await ask({ query: 'select text, 1::int2 as n from notes', params: [] });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/json');
    expect(body).toEqual({
      command: 'SELECT',
      rowCount: 0,
      rows: [],
      rowAsArray: false,
      fields: [
        {
          name: 'text',
          dataTypeID: 25,
          tableID: table,
          columnID: 2,
          dataTypeSize: -1,
          dataTypeModifier: -1,
          format: 'text',
        },
        {
          name: 'n',
          dataTypeID: 21,
          tableID: 0,
          columnID: 0,
          dataTypeSize: 2,
          dataTypeModifier: -1,
          format: 'text',
        },
      ],
    });
  });

  it.each([
    ['insert into pairs values (1, 2), (3, 4)', 'INSERT', 2],
    ['update pairs set a = 5', 'UPDATE', 2],
    ['delete from pairs where b = 2', 'DELETE', 1],
    ['create table if not exists pairs (a int, b int)', 'CREATE', null],
    ['select * from pairs', 'SELECT', 1],
    ['set statement_timeout = 1000', 'SET', null],
    ['', '', null],
  ])('%j with %s and %s', async (sql, command, rowCount) => {
    await test.query('create table if not exists pairs (a int, b int); grant all on pairs to app');
    const owner = command === 'CREATE' ? { 'Neon-Connection-String': test.ownerUrl } : {};
    expect((await ask({ query: sql, params: [] }, owner)).body).toMatchObject({ command, rowCount });
  });

  it('a request id, a new one each, and a permission for every origin', async () => {
    const answers = [await ask({ query: 'select 1' }), await ask('no json'), await ask({ query: 'select' })];
    const ids = answers.map(({ headers }) => headers.get('neon-request-id'));
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
    for (const { headers } of answers) expect(headers.get('access-control-allow-origin')).toBe('*');
  });

  it('OPTIONS with CORS', async () => {
    const response = await fetch(`${gateway.url}/sql?any=query`, { method: 'OPTIONS' });
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(response.headers.get('access-control-allow-headers')).toContain('Neon-Connection-String');
    expect(response.headers.get('neon-request-id')).toBeTruthy();
  });

  it('another path or method with 400 and a JSON string', async () => {
    for (const [path, method] of [
      ['/', 'GET'],
      ['/sql', 'GET'],
      ['/sql/', 'POST'],
      ['/v2', 'POST'],
    ]) {
      const response = await fetch(gateway.url + path, { method: method ?? '' });
      expect([response.status, await response.json()]).toEqual([400, 'query is not supported']);
    }
  });

  // test_sql_over_http_pool_custom_types in test_runner/regress/test_proxy.py of the same repository
  it('with types that PostgreSQL does not bring along as with its own: under their numbers, and arrays as arrays', async () => {
    await test.query(`create type mood as enum ('sad', 'so so'); create type pair as (a int, b mood)`);
    const [types] = await test.query(`select 'mood'::regtype::oid as mood, 'mood[]'::regtype::oid as moods`);
    const query = `select 'sad'::mood as mood, array['sad', 'so so', null]::mood[] as moods, row(1, 'so so')::pair as pair,
      array[row(1, 'so so')]::pair[] as pairs`;
    const row = { mood: 'sad', moods: ['sad', 'so so', null], pair: '(1,"so so")', pairs: ['(1,"so so")'] };
    const { body } = await ask({ query, params: [] });
    expect([body.rows, body.fields[0], body.fields[1]]).toMatchObject([
      [row],
      { dataTypeID: types?.['mood'] },
      { dataTypeID: types?.['moods'] },
    ]);
    const batch = await ask({ queries: [{ query }, { query }] }, { 'Neon-Batch-Isolation-Level': 'Serializable' });
    expect(batch.body.results.map(({ rows }) => rows)).toEqual([[row], [row]]);
    const raw = await ask({ query }, { 'Neon-Raw-Text-Output': 'true' });
    expect(raw.body.rows[0]).toMatchObject({ moods: '{sad,"so so",NULL}' });
  });

  it('rows as arrays, and every one of duplicate column names', async () => {
    const { body } = await ask({ query: 'select 1 as a, 2 as a', params: [] }, { 'Neon-Array-Mode': 'true' });
    expect(body).toMatchObject({ rows: [[1, 2]], rowAsArray: true });
    expect((await ask({ query: 'select 1 as a, 2 as a', params: [] })).body.rows).toEqual([{ a: 2 }]);
  });

  it('column names of any kind', async () => {
    const name = `quote " backslash \\ line \n snowman ☃ __proto__`;
    const { body } = await ask({ query: `select 1 as "${name.replace('"', '""')}"`, params: [] });
    expect(body.rows).toEqual([{ [name]: 1 }]);
  });
});

describe('values without raw text', () => {
  it.each([
    [`true`, true],
    [`false`, false],
    [`1::int2`, 1],
    [`-2147483648`, -2147483648],
    [`1.5::float4`, 1.5],
    [`1e300::float8`, 1e300],
    [`'-0'::float8`, -0],
    [`'NaN'::float8`, 'NaN'],
    [`'-Infinity'::float4`, '-Infinity'],
    [`9007199254740993::int8`, '9007199254740993'],
    [`1.10::numeric`, '1.10'],
    [`'2026-11-22'::date`, '2026-11-22'],
    [`'\\x00ff'::bytea`, '\\x00ff'],
    [`null::int`, null],
    [`'{"a": [1, null]}'::json`, { a: [1, null] }],
    [`'"5"'::jsonb`, '5'],
    [`'null'::jsonb`, null],
    [`'{1,NULL,3}'::int[]`, [1, null, 3]],
    [`'[2:3]={1,2}'::int[]`, [1, 2]],
    [`'{{1},{2}}'::int[]`, [[1], [2]]],
    [`'{}'::int[]`, []],
    [`'{t,f}'::bool[]`, [true, false]],
    [`'{1.5,NaN}'::float8[]`, [1.5, 'NaN']],
    [`'{1,2}'::int8[]`, ['1', '2']],
    [
      `array['a"b', 'c\\d', 'NULL', null, '', 'e,f', '{g}', E'h\\ni']`,
      ['a"b', 'c\\d', 'NULL', null, '', 'e,f', '{g}', 'h\ni'],
    ],
    [`array['{"a": "b,c"}'::jsonb]`, [{ a: 'b,c' }]],
    [`array['{"a": "b,c"}'::json]`, [{ a: 'b,c' }]],
    [`'{1,2}'::int2[]`, [1, 2]],
    [`'{1.5,NaN}'::float4[]`, [1.5, 'NaN']],
    [`'{"(1,2)","(3,4)"}'::point[]`, ['(1,2)', '(3,4)']],
    [`'{(2,2),(1,1);(4,4),(3,3)}'::box[]`, ['(2', '2)', '(1', '1);(4', '4)', '(3', '3)']],
    [`array[row(1, 2)]`, '{"(1,2)"}'],
    [
      `E'quote " backslash \\\\ tab \\t bell \\u0007 snowman ☃ 😀'`,
      'quote " backslash \\ tab \t bell \u0007 snowman ☃ 😀',
    ],
  ])('%s is %j', async (sql, expected) => {
    expect(await value(`select ${sql}`)).toEqual(expected);
  });

  it('arrays of every type that PostgreSQL brings along are arrays', async () => {
    const types = await test.query<{ name: string }>(`select format_type(a.oid, null) as name
      from pg_type a join pg_type e on e.typarray = a.oid
      where a.typcategory = 'A' and e.typtype <> 'c' and a.oid < 10000`);
    const query = `select ${types.map(({ name }) => `'{}'::${name}`).join(', ')}`;
    const { body } = await ask({ query, arrayMode: true });
    const others = types.filter((_, i) => !Array.isArray(body.rows[0]?.[i]));
    expect(others).toEqual([]);
  });

  it('a long one is whole, however many bytes a letter takes', async () => {
    const text = '☃\u001f'.repeat(9_000);
    expect(await value('select $1::text', [text])).toBe(text);
    expect(await value('select to_jsonb($1::text)', [text])).toBe(text);
    expect(await value(`select array[repeat('☃', 700)]`)).toEqual(['☃'.repeat(700)]);
  });

  it('with raw text everything but NULL is text', async () => {
    const raw = { 'Neon-Raw-Text-Output': 'true' };
    for (const [sql, expected] of [
      ['true', 't'],
      ['1', '1'],
      [`'{1,2}'::int[]`, '{1,2}'],
      [`'{"a":1}'::jsonb`, '{"a": 1}'],
      ['null', null],
    ]) {
      expect(await value(`select ${sql}`, [], raw)).toBe(expected);
    }
  });

  it('a flag that is not exactly true does not count', async () => {
    expect(await value('select 1', [], { 'Neon-Raw-Text-Output': 'TRUE' })).toBe(1);
    expect((await ask({ query: 'select 1 as a' }, { 'Neon-Array-Mode': '1' })).body.rows).toEqual([{ a: 1 }]);
  });
});

describe('errors', () => {
  const NOTHING = {
    detail: null,
    hint: null,
    position: null,
    internalPosition: null,
    internalQuery: null,
    where: null,
    table: null,
    column: null,
    schema: null,
    dataType: null,
    constraint: null,
    file: null,
    line: null,
    routine: null,
  };

  it('of SQL are 400 with every field', async () => {
    const insert = `insert into notes values (1, 'a'), (1, 'b')`;
    expect(await ask({ query: insert, params: [] })).toMatchObject({
      status: 400,
      body: {
        ...NOTHING,
        message: expect.stringContaining('violates unique constraint'),
        code: '23505',
        severity: 'ERROR',
        detail: 'Key (id)=(1) already exists.',
        schema: 'public',
        table: 'notes',
        constraint: 'notes_pkey',
        file: 'nbtinsert.c',
        line: expect.stringMatching(/^\d+$/),
        routine: '_bt_check_unique',
      },
    });
    expect((await ask({ query: 'select missing(1)', params: [] })).body).toMatchObject({
      code: '42883',
      position: '8',
      hint: expect.stringContaining('No function matches'),
    });
    const inner = `do $$ begin perform * from missing; end $$`;
    expect((await ask({ query: inner, params: [] })).body).toMatchObject({
      internalPosition: expect.any(String),
      internalQuery: expect.stringContaining('missing'),
      where: expect.stringContaining('PL/pgSQL'),
    });
  });

  it.each([
    ['a number that is too large', '{"a": [1e400]}'],
    ['a number that is too large, with a sign', '[-1e+400]'],
    ['half a character', '"\\ud83e"'],
    ['half a character in a name', '{"\\uD83E": 1}'],
    ['what nests too deeply', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['what nests too deeply, with a long number', `${'['.repeat(100_000)}9007199254740993${']'.repeat(100_000)}`],
  ])('of a parameter with %s are 400', async (_, parameter) => {
    expect((await post(`{"query": "select $1::text", "params": [${parameter}]}`)).status).toBe(400);
  });

  it('of a backend that ended say why', async () => {
    const query = 'select pg_terminate_backend(pg_backend_pid())';
    expect((await ask({ query, params: [] })).body).toMatchObject({ code: '57P01', severity: 'FATAL' });
  });

  const without = (part: (url: URL) => void) => {
    const url = new URL(test.url);
    part(url);
    return { 'Neon-Connection-String': url.href };
  };
  it.each([
    [
      'a wrong password',
      () => without((url) => (url.password = 'wrong')),
      /^password authentication failed for user 'app'$/,
    ],
    [
      'an unknown role',
      () => without((url) => (url.username = 'nobody')),
      /^password authentication failed for user 'nobody'$/,
    ],
    [
      'no password',
      () => without((url) => (url.password = '')),
      /^missing authentication credentials: required password$/,
    ],
    ['a token', () => ({ authorization: 'Bearer x' }), /^missing authentication credentials: required password$/],
    ['no user', () => without((url) => (url.username = '')), /^missing username$/],
    ['no database', () => without((url) => (url.pathname = '')), /^missing database name$/],
    [
      'a null byte',
      () => without((url) => (url.username += '%00options%00-cwork_mem=1MB')),
      /^invalid username: .*null/,
    ],
    ['a byte that is no UTF-8', () => without((url) => (url.password = '%ff')), /^invalid password: .*UTF-8/],
    ['another scheme', () => ({ 'Neon-Connection-String': 'https://a:b@c/d' }), /^incorrect scheme$/],
    ['what is no URL', () => ({ 'Neon-Connection-String': 'nonsense' }), /^invalid connection string/],
    [
      'an unknown isolation level',
      () => ({ 'Neon-Batch-Isolation-Level': 'serializable' }),
      /^invalid isolation level$/,
    ],
  ])('of %s are 400 with a message and an empty code', async (_, headers, text) => {
    expect((await ask({ query: 'select 1' })).status).toBe(200); // whose connection string is remembered
    expect(await ask({ query: 'select 1', params: [] }, headers())).toMatchObject({
      status: 400,
      body: { ...NOTHING, message: expect.stringMatching(text), code: '', severity: '' },
    });
  });

  it('of a percent sign that encodes nothing are those of a wrong password', async () => {
    const headers = without((url) => (url.password = '5%'));
    expect((await ask({ query: 'select 1' }, headers)).body.message).toMatch(/^password authentication failed/);
  });

  it('of a missing connection string name the header', async () => {
    const response = await fetch(`${gateway.url}/sql`, { method: 'POST', body: '{"query":"select 1"}' });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { message: 'invalid header: neon-connection-string' },
    ]);
  });

  it('of a server that refuses what the proxy has let in are 500 with every field', async () => {
    expect((await ask({ query: 'select 1' })).status).toBe(200);
    const unknown = without((url) => (url.pathname = '/nowhere'));
    expect(await ask({ query: 'select 1' }, unknown)).toMatchObject({
      status: 500,
      body: { code: '3D000', severity: 'FATAL', message: 'database "nowhere" does not exist', routine: 'InitPostgres' },
    });
    const role = `idle_${Date.now()}`;
    await test.query(`create role ${role} password 'hunter2'`);
    const nologin = without((url) => Object.assign(url, { username: role, password: 'hunter2' }));
    expect(await ask({ query: 'select 1' }, nologin)).toMatchObject({
      status: 500,
      body: { code: '28000', severity: 'FATAL', message: `role "${role}" is not permitted to log in` },
    });
    await test.query(`drop role ${role}`);
  });

  it('of a body in another encoding than UTF-8 are 400', async () => {
    const body = Buffer.from(`{"query": "select 'café'"}`, 'latin1');
    const response = await post('', {}, { body });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { code: '', message: 'could not parse the HTTP request body: it is not UTF-8' },
    ]);
  });

  it.each([
    ['no JSON', 'select 1'],
    ['no query', '{"sql":"select 1"}'],
    ['parameters that are no list', '{"query":"select 1","params":"x"}'],
    ['an array mode that is none', '{"query":"select 1","arrayMode":1}'],
    ['a batch with something else in it', '{"queries":[{"query":"select 1"},null]}'],
    ['nothing', ''],
  ])('of a body that is %s are 400, and do not repeat it', async (_, body) => {
    const answer = await ask(body);
    expect(answer).toMatchObject({
      status: 400,
      body: { ...NOTHING, code: '', message: expect.stringMatching(/^could not parse the HTTP request body: /) },
    });
    expect(answer.body.message).not.toContain('select 1');
  });

  const through = async ({ url }: Gateway, query = 'select 1') => {
    const headers = { 'Neon-Connection-String': test.url };
    const response = await fetch(`${url}/sql`, { method: 'POST', body: JSON.stringify({ query }), headers });
    return [response.status, await response.json()];
  };

  it('of a server out of reach are 500', async () => {
    const nowhere = await startGateway({ upstream: { host: '127.0.0.1', port: 1 }, port: 0 });
    expect(await through(nowhere)).toEqual([
      500,
      { ...NOTHING, message: 'Control plane request failed', code: '', severity: '' },
    ]);
    await nowhere.close();
  });

  it('of a connection that is lost while a query runs are 400', async () => {
    const proxy = await startFaultProxy({ port: inject('stack').postgresPort });
    const far = await startGateway({ upstream: { host: '127.0.0.1', port: proxy.port }, port: 0 });
    const lost = await test.whileLocked('lost', async () => {
      const answer = through(far, `select pg_advisory_xact_lock(hashtextextended('lost', 0))`);
      await test.untilWaiting();
      proxy.reset();
      return answer;
    });
    expect(lost).toEqual([
      400,
      { ...NOTHING, message: 'the connection to the database was lost', code: '', severity: '' },
    ]);
    await far.close();
    await proxy.close();
  });
});

describe('limits', () => {
  it('a request that is too large is 413', async () => {
    const limit = limits.maxRequestBytes;
    const body = JSON.stringify({ query: 'select length($1::text) as n', params: [''] });
    const padded = (size: number) => body.replace('""', `"${'x'.repeat(size - body.length)}"`);
    expect((await ask(padded(limit))).status).toBe(200);
    const { status, body: answer } = await ask(padded(limit + 1));
    expect([status, answer.message]).toEqual([413, `request is too large (max is ${limit} bytes)`]);
  });

  it('a response that is too large is 507, and its query is cancelled', async () => {
    const tooLarge = { message: `response is too large (max is ${limits.maxResponseBytes} bytes)` };
    for (const sql of [
      `select repeat('x', 100) as too_large from generate_series(1, 10000) a, generate_series(1, 10000) b`,
      `select repeat('x', 5000000) as too_large`,
      `select repeat('x', ${limits.maxResponseBytes - 100}) as too_large`,
    ]) {
      expect(await ask({ query: sql, params: [] })).toMatchObject({ status: 507, body: tooLarge });
    }
    await vi.waitFor(async () => {
      const running = `select from pg_stat_activity where query like '%too_large%' and pid <> pg_backend_pid() and state = 'active'`;
      expect(await test.query(running)).toHaveLength(0);
    }, PATIENCE);
    expect(await value(`select repeat('x', 250000)`)).toHaveLength(250_000);
  });
});

describe('a batch', () => {
  const batch = (queries: unknown[], headers: Record<string, string> = {}) => ask({ queries }, headers);
  const SETTINGS = [
    `current_setting('transaction_isolation')`,
    `current_setting('transaction_read_only')`,
    `current_setting('transaction_deferrable')`,
  ].map((setting) => ({ query: `select ${setting} as s` }));
  const settings = ({ results }: Answer) => results.map(({ rows }) => rows[0]?.['s']);

  it('is one transaction, with an answer for each query and an array mode for each', async () => {
    const { body } = await batch([
      { query: 'select txid_current() as id', params: [] },
      { query: 'select txid_current() as id', params: [], arrayMode: true },
    ]);
    const [first, second] = body.results;
    expect(first?.rows[0]?.['id']).toBe(second?.rows[0]?.[0]);
    expect([first?.rowAsArray, second?.rowAsArray]).toEqual([false, true]);
    expect((await batch([])).body).toEqual({ results: [] });
  });

  it('rolls back at its first error, which is its answer', async () => {
    await test.query('create table kept (n int primary key deferrable initially deferred); grant all on kept to app');
    const inserts = [1, 2].map((n) => ({ query: 'insert into kept values ($1)', params: [n] }));
    expect(await batch([...inserts, { query: 'select 1/0' }, { query: 'select nonsense' }])).toMatchObject({
      status: 400,
      body: { code: '22012' },
    });
    expect(await batch([...inserts, inserts[0]])).toMatchObject({ status: 400, body: { code: '23505' } }); // at COMMIT
    expect(await test.query('select from kept')).toHaveLength(0);
    expect((await batch(inserts)).status).toBe(200);
    expect(await test.query('select from kept')).toHaveLength(2);
  });

  it('is rolled back when its answer is too large', async () => {
    const large = { query: `select repeat('x', ${limits.maxResponseBytes - 100})` };
    const answer = await batch([{ query: `insert into notes values (507, 'never')` }, large]);
    expect(answer.status).toBe(507);
    await vi.waitFor(async () => {
      const open = `select from pg_stat_activity where datname = current_database() and usename = 'app' and xact_start is not null`;
      expect(await test.query(open)).toHaveLength(0);
    }, PATIENCE);
    expect(await test.query('select from notes where id = 507')).toHaveLength(0);
  });

  it.each(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'])('runs as %s', async (level) => {
    const { headers, body } = await batch(SETTINGS, { 'Neon-Batch-Isolation-Level': level });
    expect(settings(body)[0]).toBe(level.replace(/(?<=[a-z])(?=[A-Z])/, ' ').toLowerCase());
    expect(headers.get('neon-batch-isolation-level')).toBe(level);
  });

  it('takes flags that are exactly true, and echoes what it took', async () => {
    const set = await batch(SETTINGS, { 'Neon-Batch-Read-Only': 'true', 'Neon-Batch-Deferrable': 'true' });
    expect(settings(set.body)).toEqual(['read committed', 'on', 'on']);
    expect(set.headers.get('neon-batch-read-only')).toBe('true');
    expect(set.headers.get('neon-batch-deferrable')).toBe('true');
    const unset = await batch(SETTINGS, { 'Neon-Batch-Read-Only': 'True', 'Neon-Batch-Deferrable': '1' });
    expect(settings(unset.body)).toEqual(['read committed', 'off', 'off']);
    expect([...unset.headers.keys()].filter((name) => name.startsWith('neon-batch'))).toEqual([]);
  });

  it('options do nothing to a single query, and are not echoed', async () => {
    const headers = { 'Neon-Array-Mode': 'true', 'Neon-Batch-Read-Only': 'true' };
    const answer = await ask({ query: `select current_setting('transaction_read_only')` }, headers);
    expect(answer.body.rows).toEqual([['off']]);
    expect(answer.headers.get('neon-batch-read-only')).toBeNull();
  });
});

describe('a session', () => {
  const startOwn = (waitMs: number) =>
    startGateway({
      upstream: { host: '127.0.0.1', port: inject('stack').postgresPort },
      port: 0,
      pool: { max: 1, waitMs },
    });
  let own: Gateway;
  beforeAll(async () => {
    own = await startOwn(PATIENCE);
  });
  afterAll(() => own.close());

  const send = async (sql: string, headers: Record<string, string> = {}, init: RequestInit = {}, to = own) => {
    const response = await fetch(`${to.url}/sql`, {
      method: 'POST',
      body: JSON.stringify({ query: sql, params: [], arrayMode: true }),
      headers: { 'Neon-Connection-String': test.ownerUrl, ...headers },
      ...init,
    });
    return { status: response.status, body: (await response.json()) as Answer };
  };
  const one = async (sql: string) => (await send(sql)).body.rows[0]?.[0];

  it('is used again, as new: nothing of the one before is left', async () => {
    const pid = await one('select pg_backend_pid()');
    for (const sql of [
      `set application_name = 'left'`,
      'create temp table left_behind ()',
      'select pg_advisory_lock(4711)',
      'prepare left_behind as select 1',
      'listen left_behind',
      'declare left_behind cursor with hold for select 1',
      'begin isolation level serializable',
      `select set_config('role', 'app_owner', false)`,
    ]) {
      expect((await send(sql)).status).toBe(200);
    }
    expect(await one('select pg_backend_pid()')).toBe(pid);
    expect(await one(`select current_setting('application_name')`)).toBe('');
    expect(await one(`select to_regclass('pg_temp.left_behind')`)).toBeNull();
    expect(await one(`select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`)).toBe(
      0,
    );
    expect(await one('select count(*)::int from pg_prepared_statements where from_sql')).toBe(0);
    expect(await one('select count(*)::int from pg_listening_channels()')).toBe(0);
    expect(await one('select count(*)::int from pg_cursors where is_holdable')).toBe(0);
    expect(await one(`select current_setting('transaction_isolation')`)).toBe('read committed');
    expect(await one(`select current_setting('role')`)).toBe('none');
  });

  it('is given up when it could not be reset', async () => {
    const pid = await one('select pg_backend_pid()');
    let unlocked: Promise<unknown> | undefined;
    await test.whileLocked('reset', async () => {
      const sent = send(`do $$ begin
        create temp table left_behind ();
        set application_name = 'left';
        commit;
        while not exists (select from pg_locks where relation = 'pg_depend'::regclass and mode = 'ShareLock') loop
          perform pg_sleep(0.1);
        end loop; end $$`);
      await test.untilSleeping();
      unlocked = test.query(`begin; lock table pg_catalog.pg_depend in share mode;
        select pg_advisory_lock(hashtextextended('reset', 0)); commit`);
      expect((await sent).status).toBe(200);
      await test.untilWaiting(2); // the reset, which drops the table, too
      await test.query('select pg_cancel_backend($1)', [pid]);
      expect(await one(`select current_setting('application_name')`)).toBe('');
    });
    await unlocked;
  });

  it.each(['copy notes from stdin', 'copy notes to stdout'])('refuses %j, and the next query works', async (sql) => {
    expect(await send(sql)).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('not supported') },
    });
    expect(await one('select 1')).toBe(1);
  });

  it('is waited for in order', async () => {
    await test.query('create table served (n serial, who text); grant all on served, served_n_seq to app_owner');
    const { requests } = own.stats();
    const sent = await test.whileLocked('order', async () => {
      const holder = send(`select pg_advisory_xact_lock(hashtextextended('order', 0))`);
      await test.untilWaiting();
      const others = ['a', 'b', 'c', 'd'].map((who) => send(`insert into served (who) values ('${who}')`));
      await vi.waitFor(() => expect(own.stats().requests).toBe(requests + 5), PATIENCE);
      return [holder, ...others];
    });
    await Promise.all(sent);
    expect((await test.query('select who from served order by n')).map(({ who }) => String(who)).join('')).toBe('abcd');
  });

  it('is waited for up to a deadline', async () => {
    const hasty = await startOwn(100);
    const long = send('select pg_sleep(60) as taken', {}, {}, hasty).catch(() => 'cut off');
    const running = `select from pg_stat_activity where query like '%as taken' and state = 'active'`;
    await vi.waitFor(async () => expect(await test.query(running)).toHaveLength(1), PATIENCE);
    const late = await send('select 1', {}, {}, hasty);
    expect(late).toMatchObject({ status: 503, body: { message: expect.stringContaining('100 ms'), code: '' } });
    await hasty.close();
    expect(await long).toBe('cut off');
  });

  it('of a wrong password is not lent to it, nor taken from the right one', async () => {
    expect(await one('select 1')).toBe(1);
    const wrong = { 'Neon-Connection-String': test.ownerUrl.replace(/:[^:@]+@/, ':wrong@') };
    expect((await send('select 1', wrong)).body.message).toContain('password authentication failed');
    expect(await one('select 1')).toBe(1);
  });

  it('whose client goes away is cancelled, and the next one is served', async () => {
    const abort = new AbortController();
    const gone = send('select pg_sleep(600) as abandoned', {}, { signal: abort.signal }).catch(() => 'gone');
    const running = () =>
      test.query(`select from pg_stat_activity where query like '%as abandoned' and state = 'active'`);
    await vi.waitFor(async () => expect(await running()).toHaveLength(1), PATIENCE);
    const waiting = send('select 1', {}, { signal: AbortSignal.timeout(100) }).catch(() => 'gave up');
    expect(await waiting).toBe('gave up');
    abort.abort();
    expect(await gone).toBe('gone');
    await vi.waitFor(async () => expect(await running()).toHaveLength(0), PATIENCE);
    expect(await one('select 1')).toBe(1);
  });
});

describe('a WebSocket', () => {
  const url = (path: string) => `ws://127.0.0.1:${gateway.port}${path}`;

  it.each(['/v2', '/', '/v1?address=db.example.com:5432', '/any/other'])('is accepted at %s', async (path) => {
    const wire = await overWebSocket(url(path));
    expect(wire.stream.writable).toBe(true);
    wire.close();
  });

  it('asks for the password in clear text, so that everything can be sent ahead in one frame', async () => {
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.url);
    wire.send(startup, password, query('select 42'));
    const greeting = await wire.until('Z');
    expect(greeting.slice(0, 2).map((m) => m.toString('latin1'))).toEqual([
      'R\0\0\0\x08\0\0\0\x03',
      'R\0\0\0\x08\0\0\0\0',
    ]);
    expect(greeting.map(typeOf)).toEqual(expect.arrayContaining(['S', 'K']));
    expect((await wire.until('Z')).map(typeOf).join('')).toBe('TDCZ');
    wire.close();
  });

  it('takes the log-in in whatever pieces it comes', async () => {
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.url);
    for (const byte of Buffer.concat([startup, password])) {
      wire.send(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    expect((await wire.until('Z')).map(typeOf)).toContain('K');
    wire.close();
  });

  it('says N to a request for TLS, which it has around it, or GSSAPI', async () => {
    const wire = await overWebSocket(url('/v2'));
    wire.send(int32(8, GSS_REQUEST, 8, SSL_REQUEST));
    expect(String(await readBytes(wire.stream, 2))).toBe('NN');
    wire.close();
  });

  it('passes on of the start-up what the proxy does: no settings, but those in options that are none of its own', async () => {
    const asked = {
      user: new URL(test.url).username,
      database: new URL(test.url).pathname.slice(1),
      DateStyle: 'German',
    };
    const settings = `select current_setting('DateStyle'), current_setting('application_name'), current_setting('a.b', true)`;
    for (const [options, dateStyle] of [
      ['endpoint=ep-cool-1 project=p -c a.b=c\\ d\u00a0e', 'ISO, MDY'],
      ['neon_proxy_params_compat:true -c a.b=c\\ d\u00a0e', 'German, DMY'],
    ] as const) {
      const wire = await overWebSocket(url('/v2'));
      const startup = startupMessage({ ...asked, application_name: 'mine', options });
      wire.send(startup, logInMessages(test.url).password, query(settings));
      await wire.until('Z');
      const row = (await wire.until('Z')).find((m) => typeOf(m) === 'D');
      expect(String(row)).toMatch(new RegExp(`${dateStyle}.*mine.*c d\u00a0e`, 's'));
      wire.close();
    }
  });

  it.each([
    ['minor version', (3 << 16) | 9999, {}],
    ['extension', 3 << 16, { '_pq_.x': 'y' }],
  ])('is told that there is no such %s of the protocol, and logged in', async (_, version, extensions) => {
    const { password } = logInMessages(test.url);
    const parameters = { user: new URL(test.url).username, database: new URL(test.url).pathname.slice(1) };
    const wire = await overWebSocket(url('/v2'));
    wire.send(startupMessage({ ...parameters, ...extensions }, version), password);
    const [negotiate, ask] = await wire.until('R');
    const names = Object.keys(extensions);
    const body = Buffer.concat([int32(3 << 16, names.length), Buffer.from(names.map((name) => `${name}\0`).join(''))]);
    expect([negotiate, ask]).toEqual([message('v', body), message('R', int32(3))]);
    expect(typeOf((await wire.until('ZE')).at(-1) ?? Buffer.alloc(1))).toBe('Z');
    wire.close();
  });

  it('reports a wrong password and an unknown database as Neon does, with the code of an internal error', async () => {
    for (const [change, text] of [
      [(u: URL) => (u.password = 'wrong'), /^password authentication failed for user 'app'$/],
      [(u: URL) => (u.pathname = '/nowhere'), /^database "nowhere" does not exist$/],
      [(u: URL) => (u.password = ''), /^password authentication failed for user 'app'$/],
    ] as const) {
      const changed = new URL(test.url);
      change(changed);
      const wire = await overWebSocket(url('/v2'));
      const { startup, password } = logInMessages(changed.href);
      wire.send(startup, password);
      const [error] = (await wire.until('E')).slice(-1);
      expect(errorFields(error ?? Buffer.alloc(0))).toMatchObject({
        S: 'ERROR',
        C: 'XX000',
        M: expect.stringMatching(text),
      });
      await expect(wire.until('Z')).rejects.toThrow('the connection ended');
    }
  });

  it('is closed when it carries text', async () => {
    const webSocket = new WebSocket(url('/v2'));
    await new Promise((resolve) => webSocket.once('open', resolve));
    const closed = new Promise((resolve) => webSocket.once('close', resolve));
    webSocket.send('text');
    expect(await closed).toBe(1003);
  });

  it('takes a request to cancel, which stops the query', async () => {
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.url);
    wire.send(startup, password);
    const key = (await wire.until('Z')).find((m) => typeOf(m) === 'K');
    wire.send(query('select pg_sleep(20) as to_cancel'));
    await vi.waitFor(async () => {
      expect(
        await test.query(`select from pg_stat_activity where query like '%to_cancel' and state = 'active'`),
      ).toHaveLength(1);
    }, PATIENCE);
    const canceller = await overWebSocket(url('/v2'));
    canceller.send(Buffer.concat([Buffer.from([0, 0, 0, 16, 4, 210, 22, 46]), key?.subarray(5) ?? Buffer.alloc(0)]));
    const [error] = (await wire.until('E')).slice(-1);
    expect(errorFields(error ?? Buffer.alloc(0))).toMatchObject({ C: '57014' });
    wire.close();
  });

  it('carries COPY both ways', async () => {
    await test.query('create table copied (t text); grant all on copied to app');
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.url);
    wire.send(startup, password);
    await wire.until('Z');
    wire.send(query('copy copied from stdin'));
    await wire.until('G');
    const row = `${'x'.repeat(999)}\n`;
    for (let i = 0; i < 1000; i++) wire.send(message('d', row));
    wire.send(message('c', ''));
    await wire.until('Z');
    wire.send(query('copy copied to stdout'));
    expect((await wire.until('Z')).filter((m) => typeOf(m) === 'd')).toHaveLength(1000);
    wire.close();
  });

  const LONG = 'select pg_sleep(600) as left_alone';
  it.each([
    ['query', query(LONG)],
    [
      'flight, whose Sync has not come,',
      Buffer.concat([message('P', `\0${LONG}\0\0\0`), message('B', '\0\0\0\0\0\0\0\0'), message('E', '\0\0\0\0\0')]),
    ],
  ])('whose client goes away has its %s cancelled', async (_, flight) => {
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.ownerUrl); // for whom no statement takes too long
    wire.send(startup, password, flight);
    const running = () =>
      test.query(`select from pg_stat_activity where query like '%left_alone' and state = 'active'`);
    await vi.waitFor(async () => expect(await running()).toHaveLength(1), PATIENCE);
    wire.close();
    await vi.waitFor(async () => expect(await running()).toHaveLength(0), PATIENCE);
  });

  it('has its client wait for a server that does not read', async () => {
    await test.query('create table filled (t text); grant all on filled to app');
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.url);
    wire.send(startup, password);
    await wire.until('Z');
    const row = message('d', `${'x'.repeat(999_999)}\n`);
    const rows = 50;
    let sent = 0;
    let sending: Promise<void> | undefined;
    const sendRows = async () => {
      while (sent < rows) {
        await new Promise((resolve) => wire.stream.write(row, resolve)); // each in a frame of its own
        sent++;
      }
      wire.send(message('c', ''));
    };
    await test.whileLocked('not reading', async () => {
      wire.send(query(`select pg_advisory_lock(hashtextextended('not reading', 0))`), query('copy filled from stdin'));
      sending = sendRows();
      await untilStill(() => sent);
      expect(sent).toBeLessThan(rows / 2); // what is held between here and there
    });
    await sending;
    await wire.until('Z');
    await wire.until('Z');
    expect(await test.query('select from filled')).toHaveLength(rows);
    wire.close();
  });

  it('waits for a client that does not read', async () => {
    const wire = await overWebSocket(url('/v2'));
    const { startup, password } = logInMessages(test.url);
    wire.send(startup, password, query(`select repeat('x', 1000) from generate_series(1, 20000)`));
    await wire.until('Z');
    // Some 20 MB: more than anybody between here and there holds.
    await vi.waitFor(async () => {
      const [row] = await test.query<{ wait: string }>(
        `select wait_event as wait from pg_stat_activity where query like '%20000)' and wait_event = 'ClientWrite'`,
      );
      expect(row?.wait).toBe('ClientWrite');
    }, PATIENCE);
    expect((await wire.until('Z')).filter((m) => typeOf(m) === 'D')).toHaveLength(20_000);
    wire.close();
  });
});

it('a client that offers another protocol to upgrade to is answered all the same', async () => {
  const socket = connect(gateway.port, '127.0.0.1');
  const body = '{"query":"select 1"}';
  const head = [
    'POST /sql HTTP/1.1',
    `Host: 127.0.0.1`,
    'Connection: Upgrade, close',
    'Upgrade: h2c',
    `Neon-Connection-String: ${test.url}`,
    `Content-Length: ${body.length}`,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  let answer = '';
  for await (const chunk of socket.setEncoding('utf8')) answer += String(chunk);
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
});
