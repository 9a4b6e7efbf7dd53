import type { ConnectionTarget } from '../connection-string.ts';
import { type Connection, IDLE_MS, type SocketTransport } from '../transport.ts';

export type Pool = ReturnType<typeof createPool>;
export type Pools = ReturnType<typeof createPools>;

/**
 * The pools of one lifetime, one for each address.
 * @param max connections open at once to one address; whoever comes then waits
 * @param connectMs milliseconds until a connection must be usable
 * @param over whether each use has a pool of its own, which keeps nothing
 */
export function createPools(max: number, connectMs: number, over = false) {
  const pools = new Map<ConnectionTarget, Pool>();
  return {
    at(transport: SocketTransport, target: ConnectionTarget): Pool {
      const pool = pools.get(target) ?? createPool(() => transport.open(target, connectMs), max, over);
      if (!over) pools.set(target, pool);
      return pool;
    },

    /** For addresses that are used no more: keeps nothing that leads there. */
    retire(targets: object): void {
      for (const target of Object.values(targets) as ConnectionTarget[]) {
        void pools
          .get(target)
          ?.drain()
          .then(() => pools.delete(target));
      }
    },

    /** Closes what is idle now, and what is in use when it comes back. Resolves when all is closed. Idempotent. */
    async drain(): Promise<void> {
      over = true;
      await Promise.all([...pools.values()].map((pool) => pool.drain()));
    },
  };
}

function createPool(open: () => Connection, max: number, over: boolean) {
  const idle: { connection: Connection; expires: number; timer: ReturnType<typeof setTimeout> }[] = [];
  let lent = 0;
  /** Who waits for all that is lent: they take no place. */
  const drained: (() => void)[] = [];
  /** First come, first served. */
  const waiting = new Set<() => void>();
  const turn = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      waiting.add(resolve);
      signal.addEventListener('abort', () => waiting.delete(resolve));
    });
  const leavePlace = () => {
    const [next] = waiting;
    if (next) {
      waiting.delete(next);
      next();
    } else if (--lent === 0) for (const settle of drained.splice(0)) settle();
  };

  const takeIdle = (): Connection | undefined => {
    const { connection, timer = 0, expires = 0 } = idle.pop() ?? {};
    clearTimeout(timer);
    // Where a process was frozen meanwhile, its timers were, too.
    if (!connection || (connection.transactionStatus && Date.now() < expires)) return connection;
    void connection.close();
    return takeIdle();
  };

  return {
    /** @param fresh opens a connection instead of taking one that was used before */
    async acquire(signal: AbortSignal, fresh: boolean): Promise<Connection> {
      if (lent < max) lent++;
      else await turn(signal);
      try {
        signal.throwIfAborted();
        // A new one where one lies idle could be one too many.
        if (fresh && lent + idle.length > max) void takeIdle()?.close();
        return (!fresh && takeIdle()) || open();
      } catch (error) {
        leavePlace();
        throw error;
      }
    },

    /** Takes a connection back: kept for the next one when it is `clean`, closed otherwise. */
    async release(connection: Connection, clean: boolean): Promise<void> {
      if (clean && !over && connection.transactionStatus === 'I') {
        const timer = setTimeout(() => void connection.close(), IDLE_MS);
        // In Node the timer must not keep the process alive; elsewhere a timer is a number.
        (timer as { unref?: () => void }).unref?.();
        idle.push({ connection, timer, expires: Date.now() + IDLE_MS });
      } else {
        await connection.close();
      }
      leavePlace();
    },

    /** Closes what is idle now, and what is in use when it comes back. Resolves when all is closed. Idempotent. */
    async drain(): Promise<void> {
      over = true;
      while (idle.length) void takeIdle()?.close();
      if (lent > 0) await new Promise<void>((resolve) => drained.push(resolve));
    },
  };
}
