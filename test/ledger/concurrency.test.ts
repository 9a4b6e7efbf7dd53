import { randomUUID } from 'node:crypto';
import { eq, inArray, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type Database, type Queryable } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { getStatement } from '../../src/ledger/accounts.ts';
import { reconcile } from '../../src/ledger/reconciliation.ts';
import * as schema from '../../src/ledger/schema.ts';
import { makeTransfer } from '../../src/ledger/transfers.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';

const { accounts } = schema;
const [first, second, third, fourth] = ['1', '2', '3', '4'].map(
  (digit) => `00000000-0000-7000-8000-00000000000${digit}`,
) as [string, string, string, string];

let test: TestDatabase;
let app: Database<typeof schema>;
let owner: Database<typeof schema>;

beforeAll(async () => {
  test = await createTestDatabase();
  const options = {
    schema,
    transports: { http: neonHttp(), websocket: neonWebSocket() },
    sockets: 'instance',
  } as const;
  app = createDatabase({ ...options, url: test.url });
  owner = createDatabase({ ...options, url: test.ownerUrl });
  // In the table they are not in the order of their ids.
  const row = (id: string) => ({ id, name: id, currency: 'EUR', kind: 'external' }) as const;
  await app.insert(accounts).values([fourth, third, second, first].map(row));
});

afterAll(async () => {
  await app.close();
  await owner.close();
  await test.close();
});

const transfer = async (db: Pick<Queryable, 'transaction'>, fromAccountId: string, toAccountId: string) => {
  const request = { fromAccountId, toAccountId, amount: 1, currency: 'EUR' };
  const { outcome } = await makeTransfer(db, { caller: 'ada', key: randomUUID() }, request);
  expect(outcome).toHaveProperty('made');
};

it.each([
  [first, second],
  [second, first],
])('a transfer from %s to %s locks the accounts in the order of their ids', async (from, to) => {
  const [transferred] = await app.transaction(async (tx) => {
    await tx.select().from(accounts).where(eq(accounts.id, first)).for('update');
    const waiting = transfer(app, from, to);
    await test.untilWaiting();
    await tx.select().from(accounts).where(eq(accounts.id, second)).for('update', { noWait: true });
    return [waiting];
  });
  await transferred;
});

it('a transfer does not wait for those between other accounts', async () => {
  await app.transaction(async (tx) => {
    await tx
      .select()
      .from(accounts)
      .where(inArray(accounts.id, [first, second]))
      .for('update');
    await transfer(app, third, fourth);
  });
});

it.each<[string, () => Promise<object | undefined>]>([
  ['a statement', () => getStatement(app, first, { limit: 100 })],
  ['a reconciliation', () => reconcile(app)],
])('%s knows nothing of a transfer that is made meanwhile', async (_, read) => {
  const before = await read();
  const [reading] = await owner.transaction(async (tx) => {
    await tx.execute(sql`lock table entries`);
    const waiting = read();
    await test.untilWaiting();
    await transfer(tx, first, second);
    return [waiting];
  });
  expect(await reading).toEqual(before);
});

it('a reconciliation is not run beside another one', async () => {
  const [reading] = await owner.transaction(async (tx) => {
    await tx.execute(sql`lock table entries`);
    const waiting = reconcile(app);
    await test.untilWaiting();
    expect(await reconcile(app)).toBeUndefined();
    return [waiting];
  });
  expect(await reading).toMatchObject({ balanced: true });
});
