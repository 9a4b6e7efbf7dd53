import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { createAccount, getAccount, listAccounts } from '../ledger/accounts.ts';
import { validate } from '../middleware/validate.ts';
import { Problem } from '../problem.ts';
import { idParam, newAccount, pageById } from './schemas.ts';

/** One-shot reads and writes: one HTTP round trip each. */
export const accountRoutes = new Hono<AppEnv>()
  // A list may lag: it comes from the replica, if there is one.
  .get('/', validate('query', pageById), async (c) => {
    return c.json(await listAccounts(c.var.db.replica, c.req.valid('query')));
  })

  .post('/', validate('json', newAccount), async (c) => {
    const account = await createAccount(c.var.db, c.req.valid('json'));
    return c.json(account, 201, { Location: `/accounts/${account.id}` });
  })

  .get('/:id', validate('param', idParam), async (c) => {
    const account = await getAccount(c.var.db, c.req.valid('param').id);
    if (!account) throw new Problem('not-found', { detail: 'There is no account with this id.' });
    return c.json(account);
  });
