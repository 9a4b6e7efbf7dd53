import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { DEMO_ACCOUNTS, seedDemoData } from '../../src/ledger/demo-data.ts';
import { reconcile } from '../../src/ledger/reconciliation.ts';
import * as schema from '../../src/ledger/schema.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';

const { alice, bank, bob } = DEMO_ACCOUNTS;

let test: TestDatabase;
let app: Database<typeof schema>;
/** Of the demo data, from Alice to Bob. */
let rent: string;

beforeAll(async () => {
  test = await createTestDatabase();
  const transports = { http: neonHttp(), websocket: neonWebSocket() };
  app = createDatabase({ url: test.url, schema, transports, sockets: 'instance' });
  await seedDemoData(app);
  [{ id: rent } = { id: '' }] = await test.query<{ id: string }>(`select id from transfers where memo = 'Rent'`);
});
afterAll(async () => {
  await app.close();
  await test.close();
});

/** Without the triggers, foreign keys among them. */
const falsify = (statement: string) =>
  test.query(`begin; set local session_replication_role = replica; ${statement}; commit`);

// After the demo data: Bank -250000 (1 entry), Alice 171850 (3), Bob 78150 (2).
it.each<[string, statement: string, undo: string, differences: () => object[]]>([
  [
    'an account that counts an entry too many',
    `update accounts set sequence = 3 where id = '${bob}'`,
    `update accounts set sequence = 2 where id = '${bob}'`,
    () => [{ what: 'sequence', account: bob, expected: 2, actual: 3 }],
  ],
  [
    'an account that is gone',
    `create table kept as table accounts; delete from accounts where id = '${bank}'`,
    `insert into accounts select * from kept where id = '${bank}'; drop table kept`,
    () => [
      { what: 'balance', account: bank, expected: -250_000, actual: 0 },
      { what: 'sequence', account: bank, expected: 1, actual: 0 },
    ],
  ],
  [
    'a transfer of another amount than its entries',
    `update transfers set amount = 5 where memo = 'Rent'`,
    `update transfers set amount = 80000 where memo = 'Rent'`,
    () => [
      { what: 'amount', account: alice, transfer: rent, expected: -5, actual: -80_000 },
      { what: 'amount', account: bob, transfer: rent, expected: 5, actual: 80_000 },
    ],
  ],
  [
    'a transfer to another account than its entries',
    `update transfers set to_account_id = '${bank}' where memo = 'Rent'`,
    `update transfers set to_account_id = '${bob}' where memo = 'Rent'`,
    () => [
      { what: 'amount', account: bank, transfer: rent, expected: 80_000, actual: 0 },
      { what: 'amount', account: bob, transfer: rent, expected: 0, actual: 80_000 },
    ],
  ],
  [
    'a transfer in another currency than its accounts',
    `update transfers set currency = 'USD' where memo = 'Rent'`,
    `update transfers set currency = 'EUR' where memo = 'Rent'`,
    () => [
      { what: 'amount', account: alice, transfer: rent, expected: 0, actual: -80_000 },
      { what: 'amount', account: bob, transfer: rent, expected: 0, actual: 80_000 },
    ],
  ],
  [
    'a transfer that is gone',
    `create table kept as table transfers; delete from transfers where memo = 'Rent'`,
    `insert into transfers select * from kept where memo = 'Rent'; drop table kept`,
    () => [
      { what: 'amount', account: alice, transfer: rent, expected: 0, actual: -80_000 },
      { what: 'amount', account: bob, transfer: rent, expected: 0, actual: 80_000 },
    ],
  ],
  [
    'a gap in the entries',
    `update entries set sequence = 5 where account_id = '${bob}' and sequence = 2`,
    `update entries set sequence = 2 where account_id = '${bob}' and sequence = 5`,
    () => [{ what: 'sequence', account: bob, expected: 2, actual: 5 }],
  ],
  [
    'a balance in a statement that does not follow',
    `update entries set balance_after = 1 where account_id = '${bob}' and sequence = 2`,
    `update entries set balance_after = 78150 where account_id = '${bob}' and sequence = 2`,
    () => [{ what: 'balance', account: bob, expected: 78_150, actual: 1 }],
  ],
])('finds %s', async (_, statement, undo, differences) => {
  await falsify(statement);
  const found = await reconcile(app);
  await falsify(undo);
  expect(found).toMatchObject({ balanced: false, differences: differences() });
  expect(await reconcile(app)).toEqual({ balanced: true, accounts: 3, transfers: 3, entries: 6, differences: [] });
});
