import * as v from 'valibot';
import { newMessage } from '../routes/messages.ts';
import { healthOperations } from './health.ts';
import type { Operations } from './operation.ts';

/** What responses contain. */

const message = v.object({
  id: v.pipe(v.string(), v.uuid()),
  text: v.string(),
  createdAt: v.pipe(v.string(), v.isoTimestamp()),
});

/** The schemas that have a name in the document. */
export const schemas = { Message: message };

export const operations = {
  ...healthOperations,
  '/messages': {
    $get: {
      operationId: 'latestMessages',
      summary: 'The latest messages',
      responses: { 200: { json: v.object({ items: v.array(message) }) } },
    },
    $post: {
      operationId: 'addMessage',
      summary: 'Add a message',
      json: newMessage,
      responses: { 201: { json: message } },
    },
  },
} satisfies Operations;
