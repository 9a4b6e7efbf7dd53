import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { getTransfer, makeTransfer } from '../ledger/transfers.ts';
import { validate } from '../middleware/validate.ts';
import { Problem } from '../problem.ts';
import { idempotencyHeader, idParam, newTransfer } from './schemas.ts';

/** Read, decide, write: an interactive transaction over a WebSocket. */
export const transferRoutes = new Hono<AppEnv>()
  .post('/', validate('header', idempotencyHeader), validate('json', newTransfer), async (c) => {
    const idempotency = { caller: c.var.caller, key: c.req.valid('header')['idempotency-key'] };
    const { outcome, replayed } = await makeTransfer(c.var.db, idempotency, c.req.valid('json'));
    const headers: Record<string, string> = replayed ? { 'Idempotency-Replayed': 'true' } : {};
    if ('refused' in outcome) {
      const { reason, detail } = outcome.refused;
      throw new Problem(reason, { detail, headers });
    }
    return c.json(outcome.made, 201, { ...headers, Location: `/transfers/${outcome.made.id}` });
  })

  .get('/:id', validate('param', idParam), async (c) => {
    const transfer = await getTransfer(c.var.db, c.req.valid('param').id);
    if (!transfer) throw new Problem('not-found', { detail: 'There is no transfer with this id.' });
    return c.json(transfer);
  });
