import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import type { Target } from '../contract.ts';
import { startWorker } from './start-worker.ts';
import { apiToken } from '../token.ts';

const headers = { Authorization: `Bearer ${apiToken}`, 'Content-Type': 'application/json' };

/** A gateway of this file's own, to count what reaches it. */
let gateway: Gateway;
let database: TestDatabase;
let api: Target;

beforeAll(async () => {
  gateway = await startGateway({ upstream: { host: '127.0.0.1', port: inject('stack').postgresPort }, port: 0 });
  database = await createTestDatabase(gateway.port);
  api = await startWorker({ databaseUrl: database.url, apiToken });
});

afterAll(async () => {
  await api.close();
  await gateway.close();
  await database.close();
});

const post = (route: string, body: object, more: Record<string, string> = {}) =>
  api.fetch(route, { method: 'POST', body: JSON.stringify(body), headers: { ...headers, ...more } });

const openAccount = async (kind: string) => {
  const response = await post('/accounts', { name: kind, currency: 'EUR', kind });
  return ((await response.json()) as { id: string }).id;
};

const costs = async (request: () => Promise<Response>) => {
  const before = gateway.stats();
  expect((await request()).ok).toBe(true);
  const after = gateway.stats();
  return { requests: after.requests - before.requests, sockets: after.sockets - before.sockets };
};

it('costs one HTTP request to the gateway for a one-shot read, and one for a batch', async () => {
  const id = await openAccount('ordinary');
  expect(await costs(() => api.fetch(`/accounts/${id}`, { headers }))).toEqual({ requests: 1, sockets: 0 });
  expect(await costs(() => api.fetch('/accounts', { headers }))).toEqual({ requests: 1, sockets: 0 });
  const batches = gateway.stats().batches;
  expect(await costs(() => api.fetch(`/accounts/${id}/statement`, { headers }))).toEqual({ requests: 1, sockets: 0 });
  expect(gateway.stats().batches).toBe(batches + 1);
});

it('serves transaction after transaction in one isolate, each request with a socket of its own', async () => {
  const [bank, ada] = [await openAccount('external'), await openAccount('ordinary')];
  for (let i = 0; i < 3; i++) {
    const request = { fromAccountId: bank, toAccountId: ada, amount: 1, currency: 'EUR' };
    const transfer = () => post('/transfers', request, { 'Idempotency-Key': randomUUID() });
    expect(await costs(transfer)).toEqual({ requests: 0, sockets: 1 });
  }
});

it('keeps every acknowledged transfer of 300, sent 30 at a time between 5 accounts, exactly once', async () => {
  const accounts = await Promise.all(Array.from({ length: 5 }, () => openAccount('external')));
  const statuses: number[] = [];
  const acknowledged: string[] = [];
  let next = 0;
  const client = async () => {
    while (next < 300) {
      const i = next++;
      const response = await post(
        '/transfers',
        {
          fromAccountId: accounts[i % 5],
          toAccountId: accounts[(i + 1 + (i % 4)) % 5],
          amount: 1 + (i % 17),
          currency: 'EUR',
        },
        { 'Idempotency-Key': randomUUID() },
      );
      statuses.push(response.status);
      if (response.status === 201) acknowledged.push(((await response.json()) as { id: string }).id);
    }
  };
  await Promise.all(Array.from({ length: 30 }, client));

  expect(statuses.filter((status) => status !== 201)).toEqual([]);
  expect(new Set(acknowledged).size).toBe(300);
  const [books] = await database.query<Record<string, number>>(
    `with ours as (select * from entries where account_id = any($1::uuid[]))
     select
       (select count(*)::int from transfers where id = any($2::uuid[])) as acknowledged,
       (select count(distinct transfer_id)::int from ours) as transfers,
       (select sum(amount)::int from ours) as sum,
       (select count(*)::int from accounts a where id = any($1::uuid[])
          and balance <> (select coalesce(sum(amount), 0) from ours where account_id = a.id)) as wrong_balances,
       (select count(*)::int from accounts a where id = any($1::uuid[])
          and (sequence <> (select count(*) from ours where account_id = a.id)
            or sequence <> (select coalesce(max(ours.sequence), 0) from ours where account_id = a.id))) as gaps`,
    [accounts, acknowledged],
  );
  expect(books).toEqual({ acknowledged: 300, transfers: 300, sum: 0, wrong_balances: 0, gaps: 0 });
});
