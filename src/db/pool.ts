import type { ConnectionTarget } from './connection-string.ts';
import { abortable } from './deadline.ts';
import type { Connection, SocketTransport } from './transport.ts';

/** How long an unused connection stays open: well below the five minutes after which Neon suspends an unused database. */
const IDLE_MS = 60_000;

export type Pool = ReturnType<typeof createPool>;
export type Pools = ReturnType<typeof createPools>;

/** A pool of connections to one address, opened when they are needed: no more than `max` are lent and idle together. */
function createPool(open: () => Connection, max: number) {
  const idle: { connection: Connection; expires: number; timer: ReturnType<typeof setTimeout> }[] = [];
  const waiting = new Set<() => void>();
  const drained = Promise.withResolvers<void>();
  let lent = 0;
  let draining = false;

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

  /** First come, first served. */
  const takePlace = async (signal: AbortSignal) => {
    if (lent < max) {
      lent++;
      return;
    }
    const { promise: turn, resolve } = Promise.withResolvers<void>();
    waiting.add(resolve);
    try {
      await abortable(signal, turn);
    } catch (error) {
      if (!waiting.delete(resolve)) giveUpPlace(); // its turn had come, too late
      throw error;
    }
  };

  const giveUpPlace = () => {
    const [next] = waiting;
    if (next) {
      waiting.delete(next);
      next();
    } else {
      lent--;
      if (draining) closeIdle();
    }
  };

  const closeIdle = () => {
    for (let connection = takeIdle(); connection; connection = takeIdle()) void connection.close();
    if (lent === 0) drained.resolve();
  };

  return {
    /** @param fresh opens a connection instead of taking one that was used before */
    async acquire(signal: AbortSignal, fresh: boolean): Promise<Connection> {
      await takePlace(signal);
      try {
        if (fresh && lent + idle.length > max) void takeIdle()?.close();
        return (fresh ? undefined : takeIdle()) ?? open();
      } catch (error) {
        giveUpPlace();
        throw error;
      }
    },

    /** Takes a connection back: kept for the next one when it is `clean`, closed otherwise. */
    release(connection: Connection, clean: boolean): void {
      if (clean && connection.usable && connection.transactionStatus === 'I') {
        keep(connection);
        giveUpPlace();
      } else {
        void connection.close().then(giveUpPlace);
      }
    },

    /** Closes what is idle now and what is in use when it comes back. Resolves when all is closed. Idempotent. */
    drain(): Promise<void> {
      draining = true;
      closeIdle();
      return drained.promise;
    },
  };
}

/**
 * The pools of one lifetime, one for each address, each made when it is first needed.
 * @param max connections open at once to one address; whoever comes then waits
 * @param connectMs milliseconds until a connection must be usable
 */
export function createPools(max: number, connectMs: number) {
  const pools = new Map<ConnectionTarget, Pool>();
  let draining = false;
  return {
    at(transport: SocketTransport, target: ConnectionTarget): Pool {
      const pool = pools.get(target) ?? createPool(() => transport.open(target, connectMs), max);
      pools.set(target, pool);
      if (draining) void pool.drain();
      return pool;
    },

    async drain(): Promise<void> {
      draining = true;
      await Promise.all([...pools.values()].map((pool) => pool.drain()));
    },
  };
}
