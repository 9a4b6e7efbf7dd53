import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { getStatement } from '../ledger/accounts.ts';
import { validate } from '../middleware/validate.ts';
import { Problem } from '../problem.ts';
import { idParam, statementPage } from './schemas.ts';

/** Several reads, one consistent snapshot: an HTTP batch, one round trip. */
export const statementRoutes = new Hono<AppEnv>().get(
  '/:id/statement',
  validate('param', idParam),
  validate('query', statementPage),
  async (c) => {
    const statement = await getStatement(c.var.db, c.req.valid('param').id, c.req.valid('query'));
    if (!statement) throw new Problem('not-found', { detail: 'There is no account with this id.' });
    const { nextCursor } = statement;
    return c.json({ ...statement, nextCursor: nextCursor === null ? null : String(nextCursor) });
  },
);
