import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { claimKey } from '../../src/idempotency/idempotency.ts';
import * as schema from '../../src/idempotency/schema.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';

let test: TestDatabase;
let db: Database<typeof schema>;

beforeAll(async () => {
  test = await createTestDatabase();
  const transports = { http: neonHttp(), websocket: neonWebSocket() };
  db = createDatabase({ url: test.url, schema, transports, sockets: 'instance' });
});

afterAll(async () => {
  await db.close();
  await test.close();
});

/** Does `work` once for each key; the outcome, and whether it is an earlier one's. */
const doOnce = (key: string, request: object, work: () => Promise<number>, caller = 'ada') =>
  db.transaction(async (tx) => {
    const { earlier, keep } = await claimKey<{ result: number }>(tx, { caller, key }, request);
    if (earlier) return { ...earlier, replayed: true };
    const outcome = { result: await work() };
    await keep(outcome);
    return { ...outcome, replayed: false };
  });

it('tells who asks again what the first request came to', async () => {
  expect(await doOnce('again', { a: 1 }, async () => 1)).toEqual({ result: 1, replayed: false });
  expect(await doOnce('again', { a: 1 }, async () => 2)).toEqual({ result: 1, replayed: true });
});

it('keeps the SHA-256 of the request, by which another version of the app knows it again', async () => {
  await doOnce('hash', { a: 1 }, async () => 1);
  const hash = createHash('sha256').update('{"a":1}').digest('hex');
  const kept = `select request_hash from idempotency_keys where key = 'hash'`;
  expect(await test.query(kept)).toEqual([{ request_hash: hash }]);
});

it('takes a key for each caller', async () => {
  await doOnce('callers', {}, async () => 1);
  expect(await doOnce('callers', {}, async () => 2, 'bob')).toEqual({ result: 2, replayed: false });
});

it('refuses a key that was used for another request', async () => {
  await doOnce('other', { a: 1 }, async () => 1);
  await expect(doOnce('other', { a: 2 }, async () => 2)).rejects.toMatchObject({ reason: 'idempotency-key-reused' });
});

it('refuses a key while it is in use, and does not wait for it', async () => {
  await doOnce('now', {}, async () => {
    await expect(doOnce('now', {}, async () => 2)).rejects.toMatchObject({ reason: 'request-in-progress' });
    return 1;
  });
});

it('gives a key back when the work fails', async () => {
  const failure = new Error('the work failed');
  await expect(doOnce('failed', {}, () => Promise.reject(failure))).rejects.toBe(failure);
  expect(await doOnce('failed', { another: true }, async () => 2)).toEqual({ result: 2, replayed: false });
});
