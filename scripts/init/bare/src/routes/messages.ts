import { Hono } from 'hono';
import type { AppEnv } from '../create-app.ts';
import { validate } from '../middleware/validate.ts';
import { addMessage, listMessages } from '../messages/messages.ts';
import { object, pageById, text } from './schemas.ts';

export const newMessage = object({ text: text(1, 1000) });

export const messageRoutes = new Hono<AppEnv>()
  .get('/', validate('query', pageById), async (c) => c.json(await listMessages(c.var.db, c.req.valid('query'))))
  .post('/', validate('json', newMessage), async (c) =>
    c.json(await addMessage(c.var.db, c.req.valid('json').text), 201),
  );
