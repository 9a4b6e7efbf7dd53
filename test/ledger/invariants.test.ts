import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { applyMigrations } from '../../scripts/apply-migrations.ts';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { DEMO_ACCOUNTS, seedDemoData } from '../../src/ledger/demo-data.ts';
import * as schema from '../../src/ledger/schema.ts';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../database.ts';

const transports = { http: neonHttp(), websocket: neonWebSocket() };
const { alice, bank, bob } = DEMO_ACCOUNTS;

let test: TestDatabase;
let app: Database<typeof schema>;
let owner: Database<typeof schema>;

beforeAll(async () => {
  test = await createTestDatabase();
  app = createDatabase({ url: test.url, schema, transports, sockets: 'instance' });
  owner = createDatabase({ url: test.ownerUrl, schema, transports, sockets: 'instance' });
  await seedDemoData(app);
});

afterAll(async () => {
  await app.close();
  await owner.close();
  await test.close();
});

/** Runs statements as one transaction of the role that owns the tables, which no privilege holds back. */
const asOwner = (...statements: string[]) =>
  owner.transaction(async (tx) => {
    for (const statement of statements) await tx.execute(sql.raw(statement));
  });

const insertTransfer = (id: string, amount = 5, from: string = bank, to: string = alice) =>
  `insert into transfers values ('${id}', '${from}', '${to}', ${amount}, 'EUR')`;
const insertEntry = (account: string, sequence: number, transfer: string, amount: number, balanceAfter: number) =>
  `insert into entries values ('${account}', ${sequence}, '${transfer}', ${amount}, ${balanceAfter})`;
const setBalance = (account: string, balance: number, sequence: number) =>
  `update accounts set balance = ${balance}, sequence = ${sequence} where id = '${account}'`;

describe('the database itself refuses', () => {
  // After the demo data: Bank -250000 (1 entry), Alice 171850 (3), Bob 78150 (2).
  const id = randomUUID();
  const bankSide = [insertEntry(bank, 2, id, -5, -250_005), setBalance(bank, -250_005, 2)];
  const aliceSide = [insertEntry(alice, 4, id, 5, 171_855), setBalance(alice, 171_855, 4)];

  it.each<[string, string, string[]]>([
    ['a transfer without entries', 'transfers_entries', [insertTransfer(id)]],
    ['a transfer with one entry', 'transfers_entries', [insertTransfer(id), ...bankSide]],
    ['entries that do not cancel out', 'transfers_entries', [insertTransfer(id, 6), ...bankSide, ...aliceSide]],
    [
      'an entry on an account that is not part of the transfer',
      'transfers_entries',
      [insertTransfer(id), ...bankSide, insertEntry(bob, 3, id, 5, 78_155), setBalance(bob, 78_155, 3)],
    ],
    [
      'a gap in the sequence',
      'entries_chain',
      [insertTransfer(id), ...bankSide, insertEntry(alice, 5, id, 5, 171_855), setBalance(alice, 171_855, 5)],
    ],
    [
      'an entry whose balance does not follow',
      'entries_chain',
      [insertTransfer(id), ...bankSide, insertEntry(alice, 4, id, 5, 171_850), setBalance(alice, 171_850, 4)],
    ],
    [
      'an entry that its account does not count',
      'entries_account',
      [insertTransfer(id), ...bankSide, insertEntry(alice, 4, id, 5, 171_855)],
    ],
    ['an account that goes back to an earlier entry', 'accounts_balance_entries', [setBalance(alice, 250_000, 1)]],
    ['an account that forgets its entries', 'accounts_balance_entries', [setBalance(alice, 0, 0)]],
    ['a balance without an entry', 'accounts_balance_entries', [setBalance(alice, 171_851, 3)]],
    [
      'a new account with a balance',
      'accounts_balance_entries',
      [`insert into accounts (id, name, currency, balance) values (gen_random_uuid(), 'x', 'EUR', 5)`],
    ],
    ['an ordinary account below zero', 'accounts_balance_not_negative', [setBalance(alice, -1, 3)]],
    ['a balance beyond the safe integers', 'accounts_balance_range', [setBalance(bank, -9_007_199_254_740_992, 1)]],
    ['a transfer to the same account', 'transfers_two_accounts', [insertTransfer(id, 5, bank, bank)]],
    [
      'a transfer in another currency than its accounts',
      'transfers_from_account',
      [insertTransfer(id).replace('EUR', 'USD')],
    ],
    ['a change of a transfer', 'append_only', ['update transfers set amount = 1']],
    ['a change of an entry', 'append_only', ['update entries set amount = 1']],
    ['deleting entries', 'append_only', ['delete from entries']],
    ['emptying the books', 'append_only', ['truncate entries, transfers cascade']],
    ['a change of an account’s kind', 'accounts_kept', [`update accounts set kind = 'external' where id = '${bob}'`]],
  ])('%s', async (_, constraint, statements) => {
    await expect(asOwner(...statements)).rejects.toMatchObject({ kind: 'constraint', constraint });
  });

  it('a balance without an entry, with a temporary table of that name in front', async () => {
    await expect(
      asOwner(
        'create temporary table accounts (like public.accounts) on commit drop',
        `update public.accounts set balance = 777777777 where id = '${bob}'`,
      ),
    ).rejects.toMatchObject({ kind: 'constraint', constraint: 'accounts_balance_entries' });
  });

  it('nothing of a correct transfer written by hand', async () => {
    await asOwner(insertTransfer(id), ...bankSide, ...aliceSide);
  });
});

describe('the application’s role', () => {
  it.each([
    'update accounts set name = $$x$$',
    'delete from accounts',
    'update transfers set amount = 1',
    'delete from entries',
    'delete from idempotency_keys',
    'truncate accounts cascade',
    'create table mine (id int)',
    'alter table accounts add column x int',
    'drop table entries',
    'select * from drizzle.__drizzle_migrations',
    'set role app_owner',
    'create role other',
  ])('may not: %s', async (statement) => {
    await expect(app.execute(sql.raw(statement)).execute()).rejects.toMatchObject({ code: '42501' });
  });

  it('may use the rows of a table that is made later', async () => {
    await owner.execute(sql`create table later (id serial primary key, name text)`);
    await app.execute(sql`insert into later (name) values ('x')`);
    await app.execute(sql`update later set name = 'y'`);
    expect((await app.execute(sql`delete from later returning name`)).rows).toEqual([{ name: 'y' }]);
  });
});

describe('migrating', () => {
  it('lets nobody else make functions for the checks to call, also in a database from before PostgreSQL 15', async () => {
    await test.query('grant create on schema public to public');
    await applyMigrations(test.ownerUrl, test.url);
    const stand = `create function public.format(text, uuid) returns varchar language sql as $$ select ''::varchar $$`;
    await expect(app.execute(sql.raw(stand)).execute()).rejects.toMatchObject({ code: '42501' });
  });

  it('lets the checks say what is wrong, also where new functions are not for everyone', async () => {
    const empty = await createEmptyDatabase();
    await empty.query('alter default privileges for role app_owner revoke execute on functions from public');
    await applyMigrations(empty.ownerUrl, empty.url);
    const database = createDatabase({ url: empty.url, schema, transports, sockets: 'instance' });
    const wrong = database.insert(schema.accounts).values({ id: randomUUID(), name: 'x', currency: 'EUR', balance: 1 });
    await expect(wrong.execute()).rejects.toMatchObject({ constraint: 'accounts_balance_entries' });
    await database.close();
    await empty.close();
  });

  it('does nothing the second time, and two at once do not collide', async () => {
    const results = await Promise.all([1, 2, 3].map(() => applyMigrations(test.ownerUrl, test.url)));
    expect(results).toEqual([1, 2, 3].map(() => ({ applied: 0, role: 'app' })));
  });

  it('wants two roles', async () => {
    await expect(applyMigrations(test.ownerUrl, test.ownerUrl)).rejects.toThrow('the same role');
  });
});

describe('the demo data', () => {
  it('is put in once, also by several at once', async () => {
    expect(await seedDemoData(app)).toBe(false);
    expect(await app.$count(schema.accounts)).toBe(3);
    const empty = await createTestDatabase();
    const database = createDatabase({ url: empty.url, schema, transports, sockets: 'instance' });
    const seeded = await Promise.all([1, 2, 3].map(() => seedDemoData(database)));
    expect(seeded.filter(Boolean)).toEqual([true]);
    await empty.query('delete from idempotency_keys'); // of what nobody repeats any more
    expect(await seedDemoData(database)).toBe(false);
    expect(await database.$count(schema.transfers)).toBe(3);
    await database.close();
    await empty.close();
  });
});
