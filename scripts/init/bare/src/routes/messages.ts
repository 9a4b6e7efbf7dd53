import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { validate } from '../middleware/validate.ts';
import { addMessage, latestMessages } from '../messages/messages.ts';
import { object, text } from './schemas.ts';

export const newMessage = object({ text: text(1, 1000) });

export const messageRoutes = new Hono<AppEnv>()
  .get('/', async (c) => c.json({ items: await latestMessages(c.var.db) }))
  .post('/', validate('json', newMessage), async (c) =>
    c.json(await addMessage(c.var.db, c.req.valid('json').text), 201),
  );
