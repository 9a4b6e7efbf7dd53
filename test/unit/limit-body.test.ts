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

  it.each([
    ['0123456789', 200],
    ['01234567890', 413],
  ])('is enough: the body %s is not asked for', async (body, status) => {
    const { asked, answer } = send(body, { 'Content-Length': String(body.length) });
    expect((await answer).status).toBe(status);
    expect(asked).not.toHaveBeenCalled();
  });

  it('is not enough beside a Transfer-Encoding, which says more', async () => {
    const headers = { 'Content-Length': '10', 'Transfer-Encoding': 'chunked' };
    expect((await send('01234567890', headers).answer).status).toBe(413);
  });
});
