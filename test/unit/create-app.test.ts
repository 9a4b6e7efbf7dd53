import { expect, it } from 'vitest';
import { createApp } from '../../src/create-app.ts';
import { apiToken } from '../token.ts';

it.each([
  ['nothing of caches', {}, 'no-store'],
  ['what may be kept', { 'Cache-Control': 'max-age=60' }, 'max-age=60'],
])('a `Response` of a route’s own that says %s', async (_, headers, expected) => {
  const database = { url: 'postgresql://app:secret@db.example.com/app' };
  const { app } = createApp({ apiToken, database }, { transports: {}, sockets: 'instance' });
  app.get('/own', () => new Response('', { headers }));
  const response = await app.request('/own', { headers: { Authorization: `Bearer ${apiToken}` } });
  expect(response.headers.get('Cache-Control')).toBe(expected);
});
