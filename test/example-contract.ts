import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Asked, Example } from './contract.ts';

const account = { name: 'Ada', currency: 'EUR' };

export const EXAMPLE: Example = {
  path: '/accounts',
  body: account,
  table: 'accounts',
  reads: [
    ['GET', '/accounts'],
    ['GET', `/accounts/${randomUUID()}`],
    ['GET', `/accounts/${randomUUID()}/statement`],
    ['GET', `/transfers/${randomUUID()}`],
    ['POST', '/reconciliations'],
  ],
  writes: [
    ['/accounts', account],
    ['/transfers', { fromAccountId: randomUUID(), toAccountId: randomUUID(), amount: 1, currency: 'EUR' }],
  ],
};

interface Account {
  id: string;
  name: string;
  balance: number;
}

interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

/** The contract's part that is about the example. */
export function describeExample({ database, call, post, json, expectProblem }: Asked): void {
  const openAccount = async (kind = 'ordinary', currency = 'EUR'): Promise<Account> => {
    const response = await post('/accounts', { name: `An ${kind} account`, currency, kind });
    expect(response.status).toBe(201);
    return json<Account>(response);
  };

  const transfer = (from: string, to: string, amount: number, more: object = {}, key: string = randomUUID()) =>
    post(
      '/transfers',
      { fromAccountId: from, toAccountId: to, amount, currency: 'EUR', ...more },
      { 'Idempotency-Key': key },
    );

  const balanceOf = async (id: string) => (await json<Account>(await call(`/accounts/${id}`))).balance;

  describe('accounts', () => {
    it('opens an account and reads it back', async () => {
      const response = await post('/accounts', { name: 'Ada', currency: 'EUR' });
      expect(response.status).toBe(201);
      const account = await json<Account>(response);
      expect(account).toEqual({
        id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        name: 'Ada',
        currency: 'EUR',
        kind: 'ordinary',
        balance: 0,
        createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      });
      expect(response.headers.get('Location')).toBe(`/accounts/${account.id}`);
      expect(await json(await call(`/accounts/${account.id}`))).toEqual(account);
      expect(await json(await call(`/accounts/${account.id.toUpperCase()}`))).toEqual(account);
    });

    it.each([
      ['malformed JSON', '{"name":', undefined],
      ['an empty body', '', undefined],
      ['a body that is not an object', '5', ''],
      ['no name', { currency: 'EUR' }, '/name'],
      ['an empty name', { name: '', currency: 'EUR' }, '/name'],
      ['a name of 101 characters', { name: 'x'.repeat(101), currency: 'EUR' }, '/name'],
      [
        'a name of two lines, 101 characters together',
        { name: `${'x'.repeat(50)}\n${'x'.repeat(50)}`, currency: 'EUR' },
        '/name',
      ],
      ['a name with a NUL', { name: 'a\0b', currency: 'EUR' }, '/name'],
      ['half of a character', { name: 'a\ud800', currency: 'EUR' }, '/name'],
      ['a name that is a number', { name: 5, currency: 'EUR' }, '/name'],
      ['a currency in small letters', { name: 'Ada', currency: 'eur' }, '/currency'],
      ['a currency of four letters', { name: 'Ada', currency: 'EURO' }, '/currency'],
      ['an unknown kind', { name: 'Ada', currency: 'EUR', kind: 'secret' }, '/kind'],
    ])('refuses %s', async (_, body, pointer) => {
      const problem = await expectProblem(await post('/accounts', body), 400, 'invalid-request');
      if (pointer !== undefined) expect(problem.errors?.[0]).toMatchObject({ pointer });
    });

    it('refuses a body of another content type', async () => {
      const response = await post('/accounts', { name: 'Ada', currency: 'EUR' }, { 'Content-Type': 'text/plain' });
      const problem = await expectProblem(response, 415, 'unsupported-media-type');
      expect(problem.detail).toContain('application/json');
    });

    it('says what is wrong with JSON of any content type', async () => {
      const headers = { 'Content-Type': 'Application/vnd.api+JSON; charset=utf-8' };
      const { detail, errors } = await expectProblem(await post('/accounts', {}, headers), 400, 'invalid-request');
      expect(detail).toContain('body');
      expect(errors).toEqual(['/name', '/currency'].map((pointer) => ({ pointer, detail: 'is required' })));
      const problem = await expectProblem(await post('/accounts', '5', headers), 400, 'invalid-request');
      expect(problem.errors).toEqual([{ pointer: '', detail: 'must be an object' }]);
    });

    it('refuses what is not UTF-8, and would be kept as broken characters', async () => {
      const body = Buffer.from(JSON.stringify({ name: 'J\xf6rg', currency: 'EUR' }), 'latin1');
      const headers = { 'Content-Type': 'application/json' };
      const response = await call('/accounts', { method: 'POST', body, headers });
      const { errors } = await expectProblem(response, 400, 'invalid-request');
      expect(errors?.map(({ pointer }) => pointer)).toEqual(['/name']);
    });

    it('refuses a body that is too large', async () => {
      const response = await post('/accounts', { name: 'x'.repeat(70_000), currency: 'EUR' });
      await expectProblem(response, 413, 'payload-too-large');
    });

    it('counts characters, not UTF-16 units', async () => {
      for (const name of ['x', '🦆'.repeat(100)]) {
        expect((await post('/accounts', { name, currency: 'EUR' })).status).toBe(201);
      }
    });

    it('answers an unknown account with 404 and a malformed id with 400', async () => {
      await expectProblem(await call(`/accounts/${randomUUID()}`), 404, 'not-found');
      const { detail, errors } = await expectProblem(await call('/accounts/17'), 400, 'invalid-request');
      expect(detail).toContain('path');
      expect(errors).toEqual([{ pointer: '/id', detail: 'must be a UUID' }]);
    });

    it('lists every account once, page by page', async () => {
      // Last by its id, but not in the table.
      await database().query(
        `insert into accounts (id, name, currency) values ('ffffffff-0000-7000-8000-000000000000', 'Zoe', 'EUR')`,
      );
      for (let i = 0; i < 3; i++) await openAccount();
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page: Page<Account> = await json(await call(`/accounts?limit=2${cursor ? `&cursor=${cursor}` : ''}`));
        expect(page.items.length).toBeLessThanOrEqual(2);
        seen.push(...page.items.map(({ id }) => id));
        cursor = page.nextCursor;
      } while (cursor !== null);
      const rows = await database().query<{ id: string }>('select id from accounts order by id');
      expect(seen).toEqual(rows.map(({ id }) => id));
    });

    it('lists pages of 1 to 100', async () => {
      for (const limit of [1, 100]) expect((await call(`/accounts?limit=${limit}`)).status).toBe(200);
    });

    it.each(['limit=0', 'limit=101', 'limit=-1', 'limit=ten', 'limit=', 'cursor=17', 'cursor='])(
      'refuses the page %s',
      async (query) => {
        const { detail, errors } = await expectProblem(await call(`/accounts?${query}`), 400, 'invalid-request');
        expect(detail).toContain('query');
        expect(errors?.map(({ pointer }) => pointer)).toEqual([`/${query.split('=')[0]}`]);
      },
    );
  });

  describe('transfers', () => {
    it('moves money and reads the transfer back', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const response = await transfer(bank.id, ada.id, 500, { memo: 'Salary' });
      expect(response.status).toBe(201);
      expect(response.headers.get('Idempotency-Replayed')).toBeNull();
      const made = await json<{ id: string }>(response);
      expect(made).toEqual({
        id: expect.any(String) as string,
        fromAccountId: bank.id,
        toAccountId: ada.id,
        amount: 500,
        currency: 'EUR',
        memo: 'Salary',
        createdAt: expect.stringMatching(/Z$/) as string,
      });
      expect(response.headers.get('Location')).toBe(`/transfers/${made.id}`);
      expect(await json(await call(`/transfers/${made.id}`))).toEqual(made);
      expect([await balanceOf(bank.id), await balanceOf(ada.id)]).toEqual([-500, 500]);
    });

    it('take memos of 0 to 200 characters, and ids in capital letters', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      for (const memo of ['', 'x'.repeat(200)]) {
        const response = await transfer(bank.id.toUpperCase(), ada.id, 1, { memo });
        expect(await json(response)).toMatchObject({ fromAccountId: bank.id, memo });
      }
    });

    it('are made by POST alone', async () => {
      const response = await call('/transfers');
      await expectProblem(response, 405, 'method-not-allowed');
      expect(response.headers.get('Cache-Control')).toBe('no-store');
    });

    it('answers an unknown transfer with 404 and a malformed id with 400', async () => {
      await expectProblem(await call(`/transfers/${randomUUID()}`), 404, 'not-found');
      await expectProblem(await call('/transfers/x'), 400, 'invalid-request');
    });

    it.each([
      ['an amount of zero', { amount: 0 }],
      ['a negative amount', { amount: -1 }],
      ['a negative fraction', { amount: -1.5 }],
      ['a fraction of a minor unit', { amount: 1.5 }],
      ['an amount beyond the safe integers', { amount: 9_007_199_254_740_992 }],
      ['an amount that is a string', { amount: '5' }],
      ['a currency of two letters', { currency: 'EU' }],
      ['an account that is no UUID', { fromAccountId: 'x' }],
      ['a memo of 201 characters', { memo: 'x'.repeat(201) }],
    ])('refuses %s', async (_, change) => {
      const response = await transfer(randomUUID(), randomUUID(), 1, change);
      const { errors } = await expectProblem(response, 400, 'invalid-request');
      expect(errors?.map(({ pointer }) => pointer)).toEqual(Object.keys(change).map((name) => `/${name}`));
    });

    it.each([
      ['no key', {}],
      ['an empty key', { 'Idempotency-Key': '' }],
      ['a key of 256 characters', { 'Idempotency-Key': 'k'.repeat(256) }],
      ['a key with what some platforms decode', { 'Idempotency-Key': 'a%20b' }],
      ['a key that each platform reads in its own way', { 'Idempotency-Key': '\xfcberweisung' }],
    ])('refuses %s', async (_, headers) => {
      const body = { fromAccountId: randomUUID(), toAccountId: randomUUID(), amount: 1, currency: 'EUR' };
      const problem = await expectProblem(await post('/transfers', body, headers), 400, 'invalid-request');
      expect(problem.errors).toMatchObject([{ pointer: '/idempotency-key' }]);
    });

    it('refuses what the ledger does not allow, and changes nothing', async () => {
      const [bank, ada, dollars] = [
        await openAccount('external'),
        await openAccount(),
        await openAccount('ordinary', 'USD'),
      ];
      const { detail } = await expectProblem(await transfer(ada.id, ada.id, 1), 422, 'same-account');
      expect(detail).toContain('two different accounts');
      await expectProblem(await transfer(randomUUID(), ada.id, 1), 422, 'unknown-account');
      await expectProblem(await transfer(bank.id, randomUUID(), 1), 422, 'unknown-account');
      await expectProblem(await transfer(bank.id, dollars.id, 1), 422, 'currency-mismatch');
      await expectProblem(await transfer(ada.id, bank.id, 1), 422, 'insufficient-funds');
      expect([await balanceOf(bank.id), await balanceOf(ada.id)]).toEqual([0, 0]);
    });

    it('refuses what would leave the range of balances', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      expect((await transfer(bank.id, ada.id, Number.MAX_SAFE_INTEGER)).status).toBe(201);
      await expectProblem(await transfer(bank.id, ada.id, 1), 422, 'balance-out-of-range');
      expect(await balanceOf(ada.id)).toBe(Number.MAX_SAFE_INTEGER);
    });

    it('answers a repeated request with the first response', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const key = randomUUID();
      const first = await transfer(bank.id, ada.id, 7, {}, key);
      const reordered = { currency: 'EUR', amount: 7, toAccountId: ada.id.toUpperCase(), fromAccountId: bank.id };
      const again = await post('/transfers', reordered, { 'Idempotency-Key': key });
      expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([201, 'true']);
      expect(again.headers.get('Location')).toBe(first.headers.get('Location'));
      expect(await again.text()).toBe(await first.text());
      expect(await balanceOf(ada.id)).toBe(7);
    });

    it('answers a repeated request with the first refusal, even when it could be met now', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const key = randomUUID();
      const first = await transfer(ada.id, bank.id, 5, {}, key);
      expect(first.headers.get('Idempotency-Replayed')).toBeNull();
      await transfer(bank.id, ada.id, 5);
      const again = await transfer(ada.id, bank.id, 5, {}, key);
      expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([422, 'true']);
      expect(await again.text()).toBe(await first.text());
    });

    it('refuses a key that was used for another request', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const key = randomUUID();
      await transfer(bank.id, ada.id, 1, {}, key);
      await expectProblem(await transfer(bank.id, ada.id, 2, {}, key), 422, 'idempotency-key-reused');
      expect(await balanceOf(ada.id)).toBe(1);
    });

    it('refuses a key that another instance is using this moment', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const key = randomUUID();
      await database().whileLocked(JSON.stringify(['api-token', key]), async () => {
        await expectProblem(await transfer(bank.id, ada.id, 1, {}, key), 409, 'request-in-progress');
      });
      expect((await transfer(bank.id, ada.id, 1, {}, key)).status).toBe(201);
    });

    it('lets a key take effect once, sent many times at once', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const key = randomUUID();
      const responses = await Promise.all(Array.from({ length: 8 }, () => transfer(bank.id, ada.id, 3, {}, key)));
      expect(responses.map(({ status }) => status).filter((status) => status !== 201 && status !== 409)).toEqual([]);
      expect(await balanceOf(ada.id)).toBe(3);
    });
  });

  describe('statements', () => {
    it('pages through the entries in sequence, with the balances around them', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      for (const amount of [10, 20, 30, 40]) await transfer(bank.id, ada.id, amount);
      interface Statement extends Page<{ sequence: number; amount: number; balanceAfter: number }> {
        account: Account;
        openingBalance: number;
        closingBalance: number;
      }
      const first = await json<Statement>(await call(`/accounts/${ada.id}/statement?limit=3`));
      expect(first).toMatchObject({
        account: { id: ada.id, balance: 100 },
        openingBalance: 0,
        closingBalance: 60,
        items: [
          { sequence: 1, amount: 10, balanceAfter: 10 },
          { sequence: 2, amount: 20, balanceAfter: 30 },
          { sequence: 3, amount: 30, balanceAfter: 60 },
        ],
        nextCursor: '3',
      });
      expect(await json(await call(`/accounts/${ada.id}/statement?cursor=${first.nextCursor}`))).toMatchObject({
        openingBalance: 60,
        closingBalance: 100,
        items: [{ sequence: 4, amount: 40, balanceAfter: 100 }],
        nextCursor: null,
      });
      expect(await json(await call(`/accounts/${ada.id}/statement?cursor=4`))).toMatchObject({
        openingBalance: 100,
        closingBalance: 100,
        items: [],
        nextCursor: null,
      });
    });

    it('shows an account without entries', async () => {
      const { id } = await openAccount();
      for (const query of ['', '?cursor=10', `?cursor=${Number.MAX_SAFE_INTEGER}`]) {
        const statement = await json(await call(`/accounts/${id}/statement${query}`));
        expect(statement).toMatchObject({ openingBalance: 0, closingBalance: 0, items: [], nextCursor: null });
      }
    });

    it('answers an unknown account with 404, a malformed id or page with 400', async () => {
      await expectProblem(await call(`/accounts/${randomUUID()}/statement`), 404, 'not-found');
      await expectProblem(await call('/accounts/x/statement'), 400, 'invalid-request');
      for (const query of ['cursor=x', 'cursor=', 'cursor=-1', 'cursor=1e1', 'limit=1000']) {
        await expectProblem(await call(`/accounts/${randomUUID()}/statement?${query}`), 400, 'invalid-request');
      }
    });
  });

  describe('reconciliations', () => {
    it('finds the books balanced', async () => {
      const response = await call('/reconciliations', { method: 'POST' });
      expect(response.status).toBe(200);
      const [counts] = await database().query<Record<string, number>>(
        `select (select count(*)::int from accounts) as accounts, (select count(*)::int from transfers) as transfers,
                (select count(*)::int from entries) as entries`,
      );
      expect(await response.json()).toEqual({ balanced: true, ...counts, differences: [] });
    });

    it('finds a balance that its entries do not explain', async () => {
      const { id } = await openAccount();
      const falsify = async (balance: number) => {
        await database().query('alter table accounts disable trigger all');
        await database().query('update accounts set balance = $1 where id = $2', [balance, id]);
        await database().query('alter table accounts enable trigger all');
      };
      await falsify(5);
      expect(await json(await call('/reconciliations', { method: 'POST' }))).toMatchObject({
        balanced: false,
        differences: [{ what: 'balance', account: id, expected: 0, actual: 5 }],
      });
      await falsify(0);
    });

    it('finds an entry that does not follow from the one before it, and names its transfer', async () => {
      const [bank, ada] = [await openAccount('external'), await openAccount()];
      const { id } = await json<{ id: string }>(await transfer(bank.id, ada.id, 5));
      const falsify = async (balance: number) => {
        await database().query('alter table entries disable trigger all');
        await database().query('update entries set balance_after = $1 where account_id = $2', [balance, ada.id]);
        await database().query('alter table entries enable trigger all');
      };
      await falsify(6);
      expect(await json(await call('/reconciliations', { method: 'POST' }))).toMatchObject({
        balanced: false,
        differences: [{ what: 'balance', account: ada.id, transfer: id, expected: 5, actual: 6 }],
      });
      await falsify(5);
    });

    it('runs once at a time, across connections, and again afterwards', async () => {
      await database().whileLocked('reconciliation', async () => {
        await expectProblem(await call('/reconciliations', { method: 'POST' }), 409, 'reconciliation-in-progress');
      });
      for (let i = 0; i < 3; i++) expect((await call('/reconciliations', { method: 'POST' })).status).toBe(200);
    });
  });
}
