import * as v from 'valibot';
import { newMessage } from '../routes/messages.ts';
import { pageById } from '../routes/schemas.ts';
import { healthOperations } from './health.ts';
import type { Operations } from './operation.ts';

/** What responses contain. */

const id = v.pipe(v.string(), v.uuid());

const message = v.object({
  id,
  text: v.string(),
  createdAt: v.pipe(v.string(), v.isoTimestamp()),
});

const messagePage = v.object({ items: v.array(message), nextCursor: v.nullable(id) });

/** The schemas that have a name in the document. */
export const schemas = { Message: message, MessagePage: messagePage };

export const operations = {
  ...healthOperations,
  '/messages': {
    $get: {
      operationId: 'listMessages',
      summary: 'List the messages, the latest first, page by page',
      query: pageById,
      responses: { 200: { json: messagePage } },
    },
    $post: {
      operationId: 'addMessage',
      summary: 'Add a message',
      json: newMessage,
      responses: { 201: { json: message } },
    },
  },
} satisfies Operations;
