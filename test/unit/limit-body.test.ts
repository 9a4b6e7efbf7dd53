import { Hono } from 'hono';
import { describe, expect, it, vi } from 'vitest';
import type { AppEnv } from '../../src/create-app.ts';
import { limitBody } from '../../src/middleware/limit-body.ts';

it('takes nothing that the rest of the app throws for a body that breaks off', async () => {
  const app = new Hono<AppEnv>().use(limitBody(10)).post('/', () => {
    // oxlint-disable-next-line typescript/only-throw-error -- which is what Hono passes on
    throw 'no Error';
  });
  await expect(async () => app.request('/', { method: 'POST', body: '{}' })).rejects.toBe('no Error');
});

describe('a length that is told', () => {
  const app = new Hono<AppEnv>().use(limitBody(10)).post('/', (c) => c.text('passed'));
  const send = (body: string, headers: Record<string, string>) => {
    const request = new Request('http://localhost/', { method: 'POST', body, headers });
    const asked = vi.fn<() => void>();
    const stream = request.body;
    Object.defineProperty(request, 'body', { get: () => (asked(), stream) });
    return { asked, answer: app.request(request) };
  };

  it('is enough: the body is not asked for', async () => {
    const { asked, answer } = send('0123456789', { 'Content-Length': '10' });
    expect((await answer).status).toBe(200);
    expect(asked).not.toHaveBeenCalled();
  });

  it.each([
    ['too large', { 'Content-Length': '11' }],
    ['beside a Transfer-Encoding, which says more', { 'Content-Length': '10', 'Transfer-Encoding': 'chunked' }],
  ])('is not enough where it is %s', async (_, headers) => {
    expect((await send('01234567890', headers).answer).status).toBe(413);
  });
});
