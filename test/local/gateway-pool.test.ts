import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { createPool, type Login } from '../../local/gateway-pool.ts';
import type { Session } from '../../local/gateway-session.ts';

const login: Login = { upstream: { host: '127.0.0.1', port: 1 }, user: 'app', password: 'secret', database: 'app' };

it('a session whose connection has just gone is lent to nobody', async () => {
  const opened: (Session & { usable: boolean })[] = [];
  const pool = createPool(
    async (_login, onReset) => {
      const session = { usable: true, run: async () => onReset(session), cancel: () => {}, close: () => {} };
      opened.push(session);
      return session;
    },
    { max: 2, waitMs: 1_000 },
  );
  const use = async () => {
    const session = await pool.acquire(login, new EventEmitter());
    await session.run(Buffer.alloc(0), { receive: () => {}, maxBytes: 0 });
    return session;
  };

  const first = await use();
  expect(await use()).toBe(first);
  for (const session of opened) session.usable = false;
  expect(await use()).not.toBe(first);
  pool.close();
});

it('a client that goes away while a session is opened for it leaves its place', async () => {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  let count = 0;
  const pool = createPool(
    async (_login, _onReset, onClosed) => {
      if (++count === 2) await opened;
      const session: Session = { usable: true, run: async () => {}, cancel: () => {}, close: () => onClosed(session) };
      return session;
    },
    { max: 1, waitMs: 1_000 },
  );
  const client = new EventEmitter();
  const first = await pool.acquire(login, new EventEmitter());
  const second = pool.acquire(login, client).catch((error: unknown) => String(error));
  first.close(); // its place is the second's
  client.emit('close');
  expect(await second).toContain('the client has gone');
  open();
  await pool.acquire(login, new EventEmitter());
  pool.close();
});
