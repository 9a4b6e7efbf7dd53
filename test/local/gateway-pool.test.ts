import { EventEmitter } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
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
    await session.run([Buffer.alloc(0)], { receive: () => {}, maxBytes: 0 });
    return session;
  };

  const first = await use();
  expect(await use()).toBe(first);
  for (const session of opened) session.usable = false;
  expect(await use()).not.toBe(first);
  pool.close();
});

describe('a pool of one', () => {
  const sink = { receive: () => {}, maxBytes: 0 };
  /** What was opened with which password, and whether it is closed. */
  const createPoolOfOne = () => {
    const opened: { password: string; session: Session; closed: boolean }[] = [];
    const pool = createPool(
      async ({ password }, onReset, onClosed) => {
        const session: Session = {
          usable: true,
          run: async () => onReset(session),
          cancel: () => {},
          close() {
            own.closed = true;
            onClosed(session);
          },
        };
        const own = { password, session, closed: false };
        opened.push(own);
        return session;
      },
      { max: 1, waitMs: 1_000 },
    );
    const acquire = (password = login.password) => pool.acquire({ ...login, password }, new EventEmitter());
    return { opened, pool, acquire };
  };

  it('gives nobody who waits a session of another password', async () => {
    const { opened, pool, acquire } = createPoolOfOne();
    const first = await acquire();
    const waiting = acquire('wrong');
    await first.run([Buffer.alloc(0)], sink);
    expect(await waiting).toBe(opened[1]?.session);
    expect(opened).toMatchObject([
      { password: 'secret', closed: true },
      { password: 'wrong', closed: false },
    ]);
    pool.close();
  });

  it('lets those who wait have their turns in order where sessions end, too', async () => {
    const { opened, pool, acquire } = createPoolOfOne();
    const first = await acquire();
    const waiting = [acquire('second'), acquire('third')];
    first.close();
    (await waiting[0])?.close();
    await waiting[1];
    expect(opened.map(({ password }) => password)).toEqual(['secret', 'second', 'third']);
    pool.close();
  });

  it('closes an idle session of another password for who comes, at once', async () => {
    const { opened, pool, acquire } = createPoolOfOne();
    await (await acquire('before')).run([Buffer.alloc(0)], sink);
    expect(await acquire()).toBe(opened[1]?.session);
    expect(opened.map(({ closed }) => closed)).toEqual([true, false]);
    pool.close();
    expect(opened.map(({ closed }) => closed)).toEqual([true, true]);
  });

  it('opens a session anew after a minute, and closes one that nobody needs, although the clock is set back', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
    const { opened, pool, acquire } = createPoolOfOne();
    const use = async () => (await acquire()).run([Buffer.alloc(0)], sink);
    const advance = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 5_000) {
        vi.advanceTimersByTime(5_000);
        await use();
      }
    };
    await use();
    vi.setSystemTime(0);
    await advance(55_000);
    expect(opened.map(({ closed }) => closed)).toEqual([false]);
    await advance(5_000);
    expect(opened.map(({ closed }) => closed)).toEqual([true]);
    await use();
    vi.advanceTimersByTime(20_000);
    expect(opened.map(({ closed }) => closed)).toEqual([true, true]);
    pool.close();
    vi.useRealTimers();
  });

  it('closes what is opened while it is closed itself', async () => {
    const { opened, pool, acquire } = createPoolOfOne();
    const opening = acquire();
    pool.close();
    await opening;
    expect(opened).toMatchObject([{ closed: true }]);
  });
});

/** One whose second session is opened when `open` is called. */
const createSlowPoolOfOne = () => {
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
  return { pool, open };
};

it('a client whose turn has come is not refused because it takes long to open its session', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { pool, open } = createSlowPoolOfOne();
  const first = await pool.acquire(login, new EventEmitter());
  const second = pool.acquire(login, new EventEmitter());
  first.close();
  vi.advanceTimersByTime(2_000);
  open();
  expect(await second).not.toBe(first);
  pool.close();
});

it('a client that goes away while a session is opened for it leaves its place', async () => {
  const { pool, open } = createSlowPoolOfOne();
  const client = new EventEmitter();
  const first = await pool.acquire(login, new EventEmitter());
  const second = pool.acquire(login, client).catch((error: unknown) => String(error));
  first.close(); // its place is the second's
  client.emit('close');
  expect(await second).toContain('the client has disconnected');
  open();
  await pool.acquire(login, new EventEmitter());
  pool.close();
});
