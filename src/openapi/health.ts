import * as v from 'valibot';
import type { Operations } from './operation.ts';

export const healthOperations = {
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
} satisfies Pick<Operations, '/health/live' | '/health/ready'>;
