import type { ConnectionTarget } from './connection-string.ts';
import type { Deadline } from './deadline.ts';
import type { Connection, SocketTransport } from './transport.ts';

/** How long an unused connection stays open: well below the five minutes after which Neon suspends an unused database. */
export const IDLE_MS = 60_000;

export type Pool = ReturnType<typeof createPool>;
export type Pools = ReturnType<typeof createPools>;

/**
 * The pools of one lifetime, one for each address.
 * @param max connections open at once to one address; whoever comes then waits
 * @param connectMs milliseconds until a connection must be usable
 */
export function createPools(max: number, connectMs: number) {
  const pools = new Map<ConnectionTarget, Pool>();
  const lifetime = { over: false };
  return {
    at(transport: SocketTransport, target: ConnectionTarget): Pool {
      const pool = pools.get(target) ?? createPool(() => transport.open(target, connectMs), max, lifetime);
      pools.set(target, pool);
      return pool;
    },

    /** Closes what is idle now, and what is in use when it comes back. Resolves when all is closed. Idempotent. */
    async drain(): Promise<void> {
      lifetime.over = true;
      await Promise.all([...pools.values()].map((pool) => pool.drain()));
    },
  };
}

/** Connections to one address, opened when they are needed: no more than `max` are lent and idle together. */
function createPool(open: () => Connection, max: number, lifetime: { readonly over: boolean }) {
  const idle: { connection: Connection; expires: number; timer: ReturnType<typeof setTimeout> }[] = [];
  const lent = new Set<Connection>();
  /** Settles when all who came before have got their connection. */
  let line: Promise<unknown> = Promise.resolve();
  let returned = Promise.withResolvers<void>();

  const takeIdle = (): Connection | undefined => {
    for (let entry = idle.pop(); entry; entry = idle.pop()) {
      clearTimeout(entry.timer);
      // Where a process was frozen meanwhile, its timers were, too.
      if (entry.connection.usable && Date.now() < entry.expires) return entry.connection;
      void entry.connection.close();
    }
    return undefined;
  };

  const keep = (connection: Connection) => {
    const expire = () => {
      idle.splice(idle.indexOf(entry), 1);
      void connection.close();
    };
    const timer = setTimeout(expire, IDLE_MS);
    // In Node the timer must not keep the process alive; elsewhere a timer is a number.
    (timer as { unref?: () => void }).unref?.();
    const entry = { connection, expires: Date.now() + IDLE_MS, timer };
    idle.push(entry);
  };

  return {
    /** First come, first served. @param fresh opens a connection instead of taking one that was used before */
    async acquire({ signal, race }: Deadline, fresh: boolean): Promise<Connection> {
      const turn = line.then(async () => {
        while (lent.size >= max) await returned.promise;
        signal.throwIfAborted();
        if (fresh && lent.size + idle.length >= max) void takeIdle()?.close();
        const connection = (fresh ? undefined : takeIdle()) ?? open();
        lent.add(connection);
        return connection;
      });
      line = turn.catch(() => {});
      return race(turn);
    },

    /** Takes a connection back: kept for the next one when it is `clean`, closed otherwise. */
    async release(connection: Connection, clean: boolean): Promise<void> {
      if (clean && !lifetime.over && connection.usable && connection.transactionStatus === 'I') keep(connection);
      else await connection.close();
      lent.delete(connection);
      returned.resolve();
      returned = Promise.withResolvers();
    },

    async drain(): Promise<void> {
      for (let connection = takeIdle(); connection; connection = takeIdle()) void connection.close();
      for (await line; lent.size > 0; await line) await returned.promise;
    },
  };
}
