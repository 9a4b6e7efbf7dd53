import * as v from 'valibot';
import { newMessage } from '../routes/messages.ts';
import type { Operations } from './operation.ts';

/** What responses hold. */

const message = v.object({
  id: v.pipe(v.string(), v.uuid()),
  text: v.string(),
  createdAt: v.pipe(v.string(), v.isoTimestamp()),
});

/** What has a name in the document. */
export const schemas = { Message: message };

export const operations = {
  '/health/live': {
    $get: {
      operationId: 'isLive',
      summary: 'Whether the app runs',
      open: true,
      responses: { 200: { json: v.object({ status: v.literal('live') }) } },
    },
  },
  '/health/ready': {
    $get: {
      operationId: 'isReady',
      summary: 'Whether the database answers over each transport',
      open: true,
      responses: {
        200: {
          json: v.object({
            status: v.literal('ready'),
            transports: v.array(v.picklist(['http', 'websocket', 'tcp'])),
          }),
        },
      },
      problems: ['database-unavailable'],
    },
  },
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
