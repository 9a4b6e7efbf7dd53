import pg from 'pg';
import { neonConfig, Pool } from '@neondatabase/serverless';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { cancel } from '../../local/gateway-upstream.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';
import { logInMessages, message, overWebSocket, query, typeOf, untilStill } from './wire.ts';

let gateway: Gateway;
let test: TestDatabase;

beforeAll(async () => {
  const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
  gateway = await startGateway({ upstream, port: 0 });
  test = await createEmptyDatabase(gateway.poolerPort);
  neonConfig.wsProxy = (host, port) => `${host}:${port}/v2`;
  neonConfig.useSecureWebSocket = false;
});

afterAll(async () => {
  await test.close();
  await gateway.close();
});

const CLIENTS = {
  'pg over TCP': (connectionString: string) => new pg.Pool({ connectionString, max: 1 }),
  'the Neon driver': (connectionString: string) => new Pool({ connectionString, max: 1 }) as unknown as pg.Pool,
};

describe.each(Object.entries(CLIENTS))('%s on the pooled port', (_, createPool) => {
  let pool: pg.Pool;
  beforeAll(() => {
    pool = createPool(test.ownerUrl);
  });
  afterAll(() => pool.end());
  const one = async (sql: string): Promise<unknown> => {
    const { rows } = await pool.query<Record<string, unknown>>(sql);
    return Object.values(rows[0] ?? {})[0];
  };

  it('loses what would be on another connection next time', async () => {
    for (const sql of [
      `set application_name = 'left'`,
      'create temp table left_behind ()',
      'select pg_advisory_lock(4711)',
      'prepare "Left behind" as select 1',
      'set role app_owner',
      `do $$ begin execute 'listen left_behind'; end $$`,
      'declare left_behind cursor with hold for select 1',
      `select nextval('counted')`,
    ]) {
      if (sql.includes('counted')) await pool.query('create sequence if not exists counted');
      await pool.query(sql);
    }
    expect(await one('show application_name')).not.toBe('left');
    expect(await one(`select to_regclass('pg_temp.left_behind')`)).toBeNull();
    expect(await one(`select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`)).toBe(
      0,
    );
    expect(await one('select count(*)::int from pg_prepared_statements where from_sql')).toBe(0);
    expect(await one('select count(*)::int from pg_cursors where is_holdable')).toBe(0);
    expect(await one('select count(*)::int from pg_listening_channels()')).toBe(0);
    expect(await one(`select current_setting('role')`)).toBe('none');
    await expect(pool.query('select lastval()')).rejects.toThrow('lastval is not yet defined');
  });

  it('keeps it until the transaction ends', async () => {
    const client = await pool.connect();
    await client.query('begin');
    await client.query(`set application_name = 'kept'`);
    await client.query('create temp table kept ()');
    expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'kept' }]);
    await expect(client.query('select 1/0')).rejects.toThrow('division by zero');
    await expect(client.query('select 1')).rejects.toThrow('current transaction is aborted');
    await client.query('rollback');
    await client.query('begin');
    await client.query('create temp table kept ()');
    await client.query('commit');
    expect((await client.query(`select to_regclass('pg_temp.kept') as kept`)).rows).toEqual([{ kept: null }]);
    client.release();
  });

  it('hears of a setting that is as it was again', async () => {
    const client = await pool.connect();
    const heard = new Map<string, string>();
    const connection = Reflect.get(client, 'connection') as NodeJS.EventEmitter; // not in its types
    connection.on('parameterStatus', ({ parameterName, parameterValue }: Record<string, string>) => {
      heard.set(parameterName ?? '', parameterValue ?? '');
    });
    await client.query(`set timezone = 'Asia/Tokyo'`);
    await vi.waitFor(() => expect(heard.get('TimeZone')).not.toBe('Asia/Tokyo'), PATIENCE);
    expect((await client.query<{ TimeZone: string }>('show timezone')).rows[0]?.TimeZone).toBe(heard.get('TimeZone'));
    client.release();
  });

  it('keeps statements that the protocol prepared', async () => {
    for (const n of [1, 2]) {
      expect((await pool.query({ name: 'named', text: 'select $1::int as n', values: [n] })).rows).toEqual([{ n }]);
    }
  });

  it.each([
    ['listen heard', undefined],
    ['LISTEN heard', []],
    ['select 1; -- now\n /* really */ Listen heard', undefined],
    ['/* a /* b */ c */ /**/ listen heard', undefined],
    ['/* 1 / 2 * 3 */listen heard', undefined],
    [`select 'it''s'; listen "x"`, undefined],
    [`-- don't\nlisten heard -- it's`, undefined],
    [`/* don't /* nest */ */ listen heard; select 'it'`, undefined],
    ['select 1 as a$b$; listen heard; select 1 as a$b$', undefined],
    ['select 1 as é$b$; listen heard; select 1 as é$b$', undefined],
    ['-- now\r listen heard', undefined],
  ])('refuses %j with the reason, and goes on', async (sql, values) => {
    await expect(pool.query({ text: sql, ...(values && { values, name: 'listens' }) })).rejects.toMatchObject({
      code: '0A000',
      message: expect.stringContaining('transaction pooler'),
    });
    expect(await one('select 1')).toBe(1);
  });

  it.each([
    `select 'x; listen y'`,
    `select 1 as "; listen"`,
    'select 1 as listen',
    `do $x$ begin perform '; listen a'; end $x$`,
    `do $é$ begin return; listen a; end $é$`,
    '-- listen\nselect 1',
    `-- don't\nselect 'x; listen y'`,
    `/* it's /* nested */ */ select 'x; listen y'`,
    `select E'don\\'t; listen'`,
    'notify heard',
  ])('lets %j pass', async (sql) => {
    await pool.query(sql);
  });

  it('lets many comments and a long string pass', async () => {
    const comments = '/* -------- */\n'.repeat(40) + '/* '.repeat(50_000) + '*/ '.repeat(50_000);
    expect(await one(`${comments}select length('${'x'.repeat(9_000_000)}') as listen`)).toBe(9_000_000);
    expect(await one(`select length('${"''".repeat(10_000_000)}') as listen`)).toBe(10_000_000);
  });

  it('looks for the ends of many strings that have none in no more than one way', async () => {
    const started = performance.now();
    const strings = Array.from({ length: 30_000 }, (_, i) => `$a${i}$`);
    await expect(one(`select ${strings.join(' ')} listen`)).rejects.toMatchObject({ code: '42601' });
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  // As PgBouncer 1.24 and 1.26 do, word for word.
  it.each([
    ['-c search_path=x', 'unsupported startup parameter in options: search_path'],
    ['-c TimeZone=UTC --statement_timeout=5s', 'unsupported startup parameter in options: statement_timeout'],
    ['--_pq_.x=1', 'unsupported startup parameter in options: _pq_.x'],
    ['-d 5', "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"],
    ['-c', "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"],
  ])('refuses the options %j, which a pooler cannot keep', async (options, reason) => {
    const client = new pg.Client({ connectionString: test.url, options });
    await expect(client.connect()).rejects.toMatchObject({ code: '08P01', message: reason });
  });

  it('takes options that a pooler keeps', async () => {
    const others =
      '--client_encoding=UTF8 -c IntervalStyle=iso_8601 -c standard_conforming_strings=on -c extra_float_digits=1';
    const options = `-c TimeZone=Asia/Tokyo -cDateStyle=ISO,\\ DMY  --application_name=a\\ name ${others}`;
    const client = new pg.Client({ connectionString: test.url, options });
    await client.connect();
    const settings = `select current_setting('TimeZone'), current_setting('DateStyle'), current_setting('application_name')`;
    const { rows } = await client.query({ text: settings, rowMode: 'array' });
    expect(rows).toEqual([['Asia/Tokyo', 'ISO, DMY', 'a name']]);
    await client.end();
  });
});

describe('by hand, the pooled port', () => {
  const extended = (sql: string) =>
    Buffer.concat([
      message('P', `\0${sql}\0\0\0`),
      message('B', '\0\0\0\0\0\0\0\0'),
      message('E', '\0\0\0\0\0'),
      message('S', ''),
    ]);

  const open = async () => {
    const wire = await overWebSocket(`ws://127.0.0.1:${gateway.poolerPort}/v2`);
    const { startup, password } = logInMessages(test.ownerUrl);
    wire.send(startup, password);
    const key = (await wire.until('Z')).find((m) => typeOf(m) === 'K')?.subarray(5) ?? Buffer.alloc(0);
    return { ...wire, key };
  };

  /** Two flights, of which the second is to see nothing of the first. */
  const ahead = [query(`set application_name = 'ahead'`), query('show application_name')];

  /** What the second says. */
  const shown = (answer: Buffer[]) => {
    expect(answer.map(typeOf).join('')).toMatch(/^S?TDCZ$/); // behind what a reset has set back
    return answer.find((m) => typeOf(m) === 'D')?.toString('utf8', 11);
  };

  it('answers flights that are sent ahead, in order, each on a session as new', async () => {
    const wire = await open();
    wire.send(...ahead, extended('show application_name'), query('show application_name'));
    expect((await wire.until('Z')).map(typeOf).join('')).toContain('C');
    expect(shown(await wire.until('Z'))).toBe('');
    expect((await wire.until('Z')).map(String).join('')).not.toContain('ahead'); // not described
    expect(shown(await wire.until('Z'))).toBe('');
    wire.close();
  });

  it('resets a session again when a request to cancel has come so late that it stopped that, and only then goes on', async () => {
    const wire = await open();
    let unlocked: Promise<unknown> | undefined;
    await test.whileLocked('reset', async () => {
      unlocked = test.query(`begin; lock table pg_catalog.pg_prepared_statements;
        select pg_advisory_lock(hashtextextended('reset', 0)); commit`);
      await test.untilWaiting();
      wire.send(query(`set application_name = 'left'`));
      await wire.until('Z');
      await test.untilWaiting(2); // the reset, too
      wire.send(query('show application_name'));
      await cancel({ host: '127.0.0.1', port: gateway.poolerPort }, wire.key);
    });
    await unlocked;
    expect(shown(await wire.until('Z'))).toBe('');
    wire.close();
  });

  it('hangs up on a client whose session cannot be reset, and sends nothing more over that', async () => {
    const ofOwner = (change: string) => `do $$ begin
      execute format('alter role app_owner in database %I ${change}', current_database()); end $$`;
    await test.query(ofOwner('set lock_timeout = 1'));
    const wire = await open();
    let unlocked: Promise<unknown> | undefined;
    await test.whileLocked('no reset', async () => {
      unlocked = test.query(`begin; lock table pg_catalog.pg_prepared_statements;
        select pg_advisory_lock(hashtextextended('no reset', 0)); commit`);
      await test.untilWaiting();
      wire.send(...ahead);
      await wire.until('Z');
      await expect(wire.until('Z')).rejects.toThrow('the connection ended');
    });
    await unlocked;
    await test.query(ofOwner('reset lock_timeout'));
  });

  it('has its client wait behind a flight that is not answered', async () => {
    const wire = await open();
    const flights = 30;
    let sent = 0;
    let sending: Promise<void> | undefined;
    await test.whileLocked('not answering', async () => {
      wire.send(query(`select pg_advisory_lock(hashtextextended('not answering', 0))`));
      await test.untilWaiting();
      const flight = query(`select 1 ${' '.repeat(1_000_000)}`);
      const sendAll = async () => {
        for (; sent < flights; sent++) await new Promise((resolve) => wire.stream.write(flight, resolve));
      };
      sending = sendAll();
      await untilStill(() => sent);
      expect(sent).toBeLessThan(flights / 2); // what is held between here and there
    });
    for (let answered = 0; answered <= flights; answered++) await wire.until('Z');
    await sending;
    wire.close();
  });

  it.each(['simple', 'extended'])('carries COPY FROM STDIN in the %s protocol', async (protocol) => {
    await test.query('create table if not exists copied (t text); grant all on copied to app_owner');
    const wire = await open();
    wire.send(protocol === 'simple' ? query('copy copied from stdin') : extended('copy copied from stdin'));
    await wire.until('G');
    const end = protocol === 'extended' ? [message('S', '')] : [];
    wire.send(message('d', 'a\n'), message('d', 'b\n'), message('c', ''), ...end, ...ahead);
    expect((await wire.until('Z')).map((m) => m.toString('latin1', 5)).join()).toContain('COPY 2');
    await wire.until('Z');
    expect(shown(await wire.until('Z'))).toBe('');
    wire.close();
  });

  it('refuses a row of COPY FROM STDIN in the middle of the next message, and takes another COPY', async () => {
    await test.query('create table if not exists numbers (n int); grant all on numbers to app_owner');
    const wire = await open();
    wire.send(query('copy numbers from stdin'));
    await wire.until('G');
    const rows = message('d', '1\n'.repeat(1000));
    wire.send(message('d', 'no number\n'), rows.subarray(0, 100));
    await wire.until('Z');
    wire.send(rows.subarray(100), message('f', 'given up\0'), query('copy numbers from stdin'));
    await wire.until('G');
    wire.send(message('d', '1\n'), message('c', ''));
    expect(String((await wire.until('Z')).find((m) => typeOf(m) === 'C'))).toContain('COPY 1');
    wire.close();
  });

  it.each([
    ['its data sent ahead', ['dc', 'S'], 'COPY 1'],
    ['its Sync sent late', ['G', 'S', 'dc', 'S'], 'COPY 1'],
    ['a row that is refused', ['G', 'x', 'E', 'd', 'S'], ''],
  ])('carries COPY FROM STDIN in the extended protocol with %s', async (_, parts, tag) => {
    await test.query('create table if not exists copied (t text); grant all on copied to app_owner');
    const wire = await open();
    wire.send(extended('select 1'));
    await wire.until('Z');
    const copy = extended('copy copied from stdin');
    wire.send(copy.subarray(0, copy.length - 5)); // without its Sync
    for (const part of parts) {
      if ('GE'.includes(part)) await wire.until(part);
      else if (part === 'x') wire.send(message('d', 'two\tcolumns\n'));
      else wire.send(...Array.from(part, (type) => message(type, type === 'd' ? 'a\n' : '')));
    }
    wire.send(...ahead);
    const done = (await wire.until('Z')).find((m) => typeOf(m) === 'C');
    expect(done?.toString('latin1', 5, 11) ?? '').toBe(tag);
    await wire.until('Z');
    expect(shown(await wire.until('Z'))).toBe('');
    wire.send(query('copy copied from stdin'));
    await wire.until('G');
    wire.send(message('d', 'a\n'), message('c', ''));
    await wire.until('Z');
    wire.close();
  });

  it.each([
    ['at once', 'create view uncopied as select 1 as n', []],
    [
      'after its data',
      `create table uncopied (n int);
       create function refuse() returns trigger language plpgsql as $$ begin
         perform pg_advisory_xact_lock(hashtextextended('refuse', 0)); raise 'refused'; end $$;
       create trigger refuse before insert on uncopied execute function refuse()`,
      [message('d', '1\n'), message('c', ''), message('S', '')],
    ],
  ])('resets the session when COPY FROM STDIN has failed before it read anything, %s', async (_, sql, more) => {
    await test.query(`${sql}; grant all on uncopied to app_owner`);
    const wire = await open();
    await test.whileLocked('refuse', async () => {
      wire.send(extended('copy uncopied from stdin'));
      await wire.until('G');
      wire.send(...more);
      if (more.length > 0) await test.untilWaiting();
    });
    expect((await wire.until('Z')).map(typeOf)).toEqual(['E', 'Z']);
    if (more.length > 0) expect((await wire.until('Z')).map(typeOf)).toEqual(['Z']);
    wire.send(...ahead);
    await wire.until('Z');
    expect(shown(await wire.until('Z'))).toBe('');
    await test.query(`drop ${sql.startsWith('create view') ? 'view' : 'table'} uncopied`);
    wire.close();
  });
});
