import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  customType,
  date,
  doublePrecision,
  integer,
  interval,
  json,
  jsonb,
  numeric,
  type PgColumn,
  pgEnum,
  pgTable,
  point,
  real,
  smallint,
  text,
  time,
  timestamp,
  uuid,
  varchar,
} from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { tcp } from '../../src/db/tcp.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';

/** PostgreSQL's text for a value, and what `execute` makes of it. */
const VALUES: Record<string, [expression: string, value: unknown]> = {
  bool: ['true', true],
  'bool, null': ['null::bool', null],
  int2: ['32767::int2', 32_767],
  int4: ['(-2147483648)::int4', -2_147_483_648],
  'int8 beyond 2^53': ['9007199254740993::int8', '9007199254740993'],
  float4: ['1.5::float4', 1.5],
  float8: ['0.1::float8', 0.1],
  'float8, not a number': [`'NaN'::float8`, Number.NaN],
  'float8, infinite': [`'-Infinity'::float8`, Number.NEGATIVE_INFINITY],
  numeric: ['12345678901234567890.123456789::numeric', '12345678901234567890.123456789'],
  text: [`'It''s "quoted" \\ 🦆'::text`, `It's "quoted" \\ 🦆`],
  'text, empty': [`''::text`, ''],
  bytea: [`'\\x00ff10'::bytea`, new Uint8Array([0, 255, 16])],
  uuid: [`'01940000-0000-7000-8000-000000000001'::uuid`, '01940000-0000-7000-8000-000000000001'],
  date: [`'2024-02-29'::date`, '2024-02-29'],
  time: [`'12:34:56.789012'::time`, '12:34:56.789012'],
  timestamp: [`'2024-02-29 12:34:56.789012'::timestamp`, '2024-02-29 12:34:56.789012'],
  timestamptz: [`'2024-02-29 12:34:56.789012+00'::timestamptz`, '2024-02-29 12:34:56.789012+00'],
  interval: [`'1 year 2 mons 3 days 04:05:06'::interval`, '1 year 2 mons 3 days 04:05:06'],
  json: [`'{"a": [1, null, "x"]}'::json`, { a: [1, null, 'x'] }],
  jsonb: [`'[1.5, true]'::jsonb`, [1.5, true]],
  'jsonb, a string': [`'"5"'::jsonb`, '5'],
  'jsonb null': [`'null'::jsonb`, null],
  'int4[]': [`'{1,NULL,3}'::int4[]`, [1, null, 3]],
  'int8[]': [`'{9007199254740993}'::int8[]`, ['9007199254740993']],
  'text[]': [`array['a,b', null, '', 'q"\\']`, ['a,b', null, '', 'q"\\']],
  'bool[]': [`'{t,f,NULL}'::bool[]`, [true, false, null]],
  'numeric[]': [`'{1.10,NULL}'::numeric[]`, ['1.10', null]],
  'jsonb[]': [`array['{"a": 1}'::jsonb]`, [{ a: 1 }]],
  'timestamptz[]': [`array['2024-02-29 00:00+00'::timestamptz, null]`, ['2024-02-29 00:00:00+00', null]],
  'inet[]': [`'{10.0.0.1,NULL}'::inet[]`, ['10.0.0.1', null]],
  'cidr[]': [`'{10.0.0.0/8,NULL}'::cidr[]`, ['10.0.0.0/8', null]],
  'macaddr[]': [`'{08:00:2b:01:02:03,NULL}'::macaddr[]`, ['08:00:2b:01:02:03', null]],
  'nested array': [
    `'{{1,2},{3,4}}'::int4[]`,
    [
      [1, 2],
      [3, 4],
    ],
  ],
  'empty array': [`'{}'::text[]`, []],
  enum: [`'sad'::mood`, 'sad'],
  range: [`int4range(1, 5)`, '[1,5)'],
  point: [`'(1,2)'::point`, '(1,2)'],
  circle: [`'<(1,2),3>'::circle`, '<(1,2),3>'],
  'point[]': [`array['(1,2)'::point, null]`, ['(1,2)', null]],
  'numrange[]': [`array[numrange(1, 2), null]`, ['[1,2)', null]],
  'date[]': [`'{2024-02-29}'::date[]`, ['2024-02-29']],
  'interval[]': [`array['1 day'::interval]`, ['1 day']],
};

const mood = pgEnum('mood', ['happy', 'sad']);
const bytea = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' });

const everything = pgTable('everything', {
  bool: boolean('bool'),
  int2: smallint('int2'),
  int4: integer('int4'),
  int8: bigint('int8', { mode: 'bigint' }),
  float4: real('float4'),
  float8: doublePrecision('float8'),
  numeric: numeric('numeric'),
  text: text('text'),
  varchar: varchar('varchar', { length: 10 }),
  bytea: bytea('bytea'),
  uuid: uuid('uuid'),
  date: date('date'),
  time: time('time'),
  timestamp: timestamp('timestamp'),
  timestamptz: timestamp('timestamptz', { withTimezone: true }),
  interval: interval('interval'),
  json: json('json'),
  jsonb: jsonb('jsonb'),
  ints: integer('ints').array(),
  texts: text('texts').array(),
  mood: mood('mood'),
});

const ROW: Required<typeof everything.$inferInsert> = {
  bool: false,
  int2: -1,
  int4: 7,
  int8: 9_007_199_254_740_993n,
  float4: 1.5,
  float8: 0.1,
  numeric: '1.10',
  text: `It's "quoted" \\ 🦆`,
  varchar: 'x',
  bytea: new Uint8Array([0, 255]),
  uuid: '01940000-0000-7000-8000-000000000001',
  date: '2024-02-29',
  time: '12:34:56',
  timestamp: new Date('2024-02-29T12:34:56.789Z'),
  timestamptz: new Date('2024-02-29T12:34:56.789Z'),
  interval: '1 day',
  json: { a: [1, null] },
  jsonb: [{ b: 'x' }],
  ints: [1, 2, 3],
  texts: ['a,b', '', 'q"\\'],
  mood: 'happy',
};

const faults = pgTable('faults', {
  numerics: numeric('numerics').array(),
  numbers: numeric('numbers', { mode: 'number' }).array(),
  bigints: bigint('bigints', { mode: 'bigint' }).array(),
  dates: date('dates').array(),
  json: jsonb('json'),
  points: point('points', { mode: 'xy' }).array(),
});

const schema = { everything };
const PORTS = inject('stack');
const transports = {
  http: { transports: { http: neonHttp() }, port: PORTS.gatewayPort },
  websocket: { transports: { websocket: neonWebSocket() }, port: PORTS.gatewayPort },
  tcp: { transports: { tcp: tcp() }, port: PORTS.postgresPort },
};

describe.each(Object.entries(transports))('over %s', (_, { transports, port }) => {
  let test: TestDatabase;
  let database: Database<typeof schema>;

  beforeAll(async () => {
    test = await createEmptyDatabase(port);
    await test.query(`create type mood as enum ('happy', 'sad')`);
    await test.query(`
      create table everything (
        bool bool, int2 int2, int4 int4, int8 int8, float4 float4, float8 float8, numeric numeric, text text,
        varchar varchar(10), bytea bytea, uuid uuid, date date, time time, timestamp timestamp, timestamptz timestamptz,
        interval interval, json json, jsonb jsonb, ints int4[], texts text[], mood mood)`);
    await test.query(`
      create table faults (
        numerics numeric[], numbers numeric[], bigints int8[], dates date[], json jsonb, points point[])`);
    await test.query('grant all on everything, faults to app');
    database = createDatabase({ url: test.url, schema, transports, sockets: 'instance' });
  });

  afterAll(async () => {
    await database.close();
    await test.close();
  });

  it.each(Object.entries(VALUES))('%s', async (__, [expression, value]) => {
    const { rows } = await database.execute(sql.raw(`select ${expression} as value`));
    expect(rows).toEqual([{ value }]);
  });

  it('a row goes in and out through drizzle’s columns as it was', async () => {
    await database.insert(everything).values(ROW);
    expect(await database.select().from(everything)).toEqual([ROW]);
    expect(await database.query.everything.findMany()).toEqual([ROW]);
    const [row] = await database.update(everything).set({ text: null }).returning();
    expect(row).toEqual({ ...ROW, text: null });
  });

  // drizzle 0.45 maps a NULL inside some arrays as if it were a value, and parses a jsonb string once more. With `execute`,
  // or a `customType`, the values are right. When one of these fails, drizzle has been mended: take it off the list.
  it.each<[fault: string, column: PgColumn, literal: string, read: unknown]>([
    ['NULL in numeric[] is a string', faults.numerics, '{1.10,NULL}', ['1.10', 'null']],
    ['NULL in numeric[] is the number 0', faults.numbers, '{1.10,NULL}', [1.1, 0]],
    ['NULL in bigint[] throws', faults.bigints, '{1,NULL}', new TypeError('Cannot convert null to a BigInt')],
    ['NULL in date[] throws', faults.dates, '{2024-02-29,NULL}', new TypeError(`reading 'toISOString'`)],
    ['the jsonb string "5" is a number', faults.json, '"5"', 5],
  ])('a fault of drizzle’s columns: %s', async (_fault, column, literal, read) => {
    await database.execute(sql`truncate faults`);
    await database.execute(sql`insert into faults (${sql.identifier(column.name)}) values (${literal})`);
    const select = database.select({ value: column }).from(faults);
    if (read instanceof Error) await expect(select).rejects.toThrow(read.message);
    else expect(await select).toEqual([{ value: read }]);
  });

  it('NULL in point[] is no point', async () => {
    await database.execute(sql`truncate faults`);
    await database.execute(sql`insert into faults (points) values (array['(1,2)'::point, null])`);
    expect(await database.select({ value: faults.points }).from(faults)).toEqual([{ value: [{ x: 1, y: 2 }, null] }]);
  });

  it('a result tells its command, its rows and what they are made of, one of a batch its own', async () => {
    const select = database.execute(sql`select 1 as one, 'x'::text as two`);
    const rows = {
      command: 'SELECT',
      rowCount: 1,
      fields: [
        { name: 'one', dataTypeID: 23 },
        { name: 'two', dataTypeID: 25 },
      ],
      rows: [{ one: 1, two: 'x' }],
    };
    const nothing = { rowCount: null, fields: [], rows: [] };
    expect(await select).toEqual(rows);
    expect(await database.execute(sql``)).toEqual({ command: '', ...nothing });
    const set = database.execute(sql`set local statement_timeout = 0`);
    expect(await database.batch([select, set])).toEqual([rows, { command: 'SET', ...nothing }]);
  });

  it('half a character arrives as the mark for one that is broken', async () => {
    const cut = 'a duck: 🦆'.slice(0, -1);
    const { rows } = await database.execute(sql`select ${cut}::text as value, 1 as ${sql.identifier(cut)}`);
    expect(rows).toEqual([{ value: 'a duck: \uFFFD', 'a duck: \uFFFD': 1 }]);
  });

  it('a NUL in the text of a statement is refused before anything is sent, in a batch, too', async () => {
    const select = database.execute(sql`select 1 as ${sql.identifier('a\0b')}`);
    const refusal = { kind: 'query', message: 'A statement has NUL.' };
    await expect(select).rejects.toMatchObject(refusal);
    await expect(database.batch([select])).rejects.toMatchObject(refusal);
  });

  it('a parameter arrives as its type', async () => {
    const { rows } = await database.execute(
      sql`select ${5}::int as number, ${9_007_199_254_740_993n}::int8 as bigint, ${true}::bool as bool,
                 ${new Date(0)}::timestamptz as date, ${new Uint8Array([1, 2])}::bytea as bytes,
                 ${sql.param({ a: [1] })}::jsonb as json, ${sql.param(['x', null])}::text[] as list, ${null}::text as nothing`,
    );
    expect(rows).toEqual([
      {
        number: 5,
        bigint: '9007199254740993',
        bool: true,
        date: '1970-01-01 00:00:00+00',
        bytes: new Uint8Array([1, 2]),
        json: { a: [1] },
        list: ['x', null],
        nothing: null,
      },
    ]);
  });
});
