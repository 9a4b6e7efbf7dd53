import type { ConnectionTarget } from './connection-string.ts';
import { abortable } from './deadline.ts';
import type { Connection, SocketTransport } from './transport.ts';

interface PoolOptions {
  /** Connections open at once; whoever comes then waits for one, first come first served. */
  max: number;
  /** Milliseconds until a connection must be usable. */
  connectMs: number;
  /** How long an unused connection stays open, in milliseconds. */
  idleMs?: number;
}

/** A bounded pool of connections to one address. Opens none until the first is needed. */
export interface Pool {
  /**
   * @param fresh opens a connection instead of taking one that was used before
   * @returns a connection and whether it was used before
   */
  acquire(signal: AbortSignal, fresh: boolean): Promise<{ connection: Connection; reused: boolean }>;
  /** Takes a connection back: kept for the next one when it is `clean`, closed otherwise. */
  release(connection: Connection, clean: boolean): void;
  /** Closes what is idle now and what is in use when it comes back. Resolves when all is closed. Idempotent. */
  drain(): Promise<void>;
}

function createPool(open: () => Connection, { max, idleMs }: PoolOptions): Pool {
  const idle: { connection: Connection; since: number; timer: ReturnType<typeof setTimeout> | undefined }[] = [];
  const waiting = new Set<PromiseWithResolvers<void>>();
  const drained = Promise.withResolvers<void>();
  let lent = 0;
  let draining = false;

  const takeIdle = (): Connection | undefined => {
    for (let entry = idle.pop(); entry; entry = idle.pop()) {
      clearTimeout(entry.timer);
      // Where a process was frozen meanwhile, its timers were, too.
      const expired = idleMs !== undefined && Date.now() - entry.since > idleMs;
      if (entry.connection.usable && !expired) return entry.connection;
      void entry.connection.close();
    }
    return undefined;
  };

  const waitForPlace = async (signal: AbortSignal) => {
    const turn = Promise.withResolvers<void>();
    waiting.add(turn);
    try {
      await abortable(signal, turn.promise);
    } catch (error) {
      if (!waiting.delete(turn)) giveUpPlace(); // its turn had come, too late
      throw error;
    }
  };

  const giveUpPlace = () => {
    const [next] = waiting;
    if (next === undefined) lent--;
    else if (waiting.delete(next)) next.resolve();
    if (draining && lent === 0) drained.resolve();
  };

  const keep = (connection: Connection) => {
    const expire = () => {
      idle.splice(idle.indexOf(entry), 1);
      void connection.close();
    };
    const timer = idleMs === undefined ? undefined : setTimeout(expire, idleMs);
    // In Node the timer must not keep the process alive; elsewhere a timer is a number.
    (timer as { unref?: () => void } | undefined)?.unref?.();
    const entry = { connection, since: Date.now(), timer };
    idle.push(entry);
  };

  return {
    async acquire(signal, fresh) {
      if (lent < max) lent++;
      else await waitForPlace(signal);
      try {
        if (fresh && lent + idle.length > max) void takeIdle()?.close();
        const used = fresh ? undefined : takeIdle();
        return { connection: used ?? open(), reused: used !== undefined };
      } catch (error) {
        giveUpPlace();
        throw error;
      }
    },

    release(connection, clean) {
      const fit = clean && connection.usable && connection.transactionStatus === 'I';
      if (!fit || (draining && waiting.size === 0)) {
        void connection.close().then(giveUpPlace);
      } else {
        keep(connection);
        giveUpPlace();
      }
    },

    drain() {
      draining = true;
      for (let connection = takeIdle(); connection; connection = takeIdle()) void connection.close();
      if (lent === 0) drained.resolve();
      return drained.promise;
    },
  };
}

/** The pools of one lifetime, one for each address, each made when it is first needed. */
export interface Pools {
  get(transport: SocketTransport, target: ConnectionTarget): Pool;
  drain(): Promise<void>;
}

export function createPools(options: PoolOptions): Pools {
  const pools = new Map<ConnectionTarget, Pool>();
  let draining = false;
  return {
    get(transport, target) {
      const pool = pools.get(target) ?? createPool(() => transport.open(target, options.connectMs), options);
      pools.set(target, pool);
      if (draining) void pool.drain();
      return pool;
    },
    async drain() {
      draining = true;
      await Promise.all([...pools.values()].map((pool) => pool.drain()));
    },
  };
}
