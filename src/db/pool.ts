import type { ConnectionTarget } from './connection-string.ts';
import type { Connection, SocketTransport } from './transport.ts';
import { rollBack } from './transaction.ts';

interface PoolOptions {
  open: () => Connection;
  /** Connections open at once; whoever comes then waits for one, first come first served. */
  max: number;
  /** How long an unused connection stays open, in milliseconds. */
  idleMs?: number;
}

export interface Pool {
  /** Lends a connection to `work`: one that was used before, if there is one. Returned afterwards, or closed if it is not fit. */
  use<T>(work: (connection: Connection) => Promise<T>): Promise<T>;
  /** Closes what is idle now and what is in use when it comes back. Resolves when all is closed. Idempotent. */
  drain(): Promise<void>;
}

/** A bounded pool of connections. Opens none until the first is needed. */
export function createPool({ open, max, idleMs }: PoolOptions): Pool {
  const idle: { connection: Connection; timer: ReturnType<typeof setTimeout> | undefined }[] = [];
  const waiting: (() => void)[] = [];
  let lent = 0;
  let draining = false;
  const drained = Promise.withResolvers<void>();

  const takeIdle = (): Connection | undefined => {
    for (let entry = idle.pop(); entry; entry = idle.pop()) {
      clearTimeout(entry.timer);
      if (entry.connection.usable) return entry.connection;
      entry.connection.close();
    }
    return undefined;
  };

  const acquire = async (): Promise<Connection> => {
    if (lent < max) lent++;
    else await new Promise<void>((resolve) => waiting.push(resolve)); // for the place of one that comes back
    try {
      return takeIdle() ?? open();
    } catch (error) {
      giveUpPlace();
      throw error;
    }
  };

  const release = (connection: Connection) => {
    const fit = connection.usable && connection.transactionStatus === 'I';
    if (fit && (!draining || waiting.length > 0)) keep(connection);
    else connection.close();
    giveUpPlace();
  };

  const giveUpPlace = () => {
    const next = waiting.shift();
    if (next) next();
    else lent--;
    settleDrain();
  };

  const settleDrain = () => {
    if (draining && lent === 0) drained.resolve();
  };

  const keep = (connection: Connection) => {
    const entry = { connection, timer: undefined as ReturnType<typeof setTimeout> | undefined };
    if (idleMs !== undefined) {
      entry.timer = setTimeout(() => {
        idle.splice(idle.indexOf(entry), 1);
        connection.close();
      }, idleMs);
      // In Node the timer must not keep the process alive; elsewhere a timer is a number.
      (entry.timer as { unref?: () => void }).unref?.();
    }
    idle.push(entry);
  };

  return {
    async use(work) {
      const connection = await acquire();
      try {
        return await work(connection);
      } finally {
        await rollBack(connection);
        release(connection);
      }
    },

    drain() {
      draining = true;
      for (let connection = takeIdle(); connection; connection = takeIdle()) connection.close();
      settleDrain();
      return drained.promise;
    },
  };
}

interface PoolsOptions extends Omit<PoolOptions, 'open'> {
  /** Milliseconds until a connection must be usable. */
  connectMs: number;
}

/** The pools of one lifetime, one for each address, each made when it is first needed. */
export interface Pools {
  get(transport: SocketTransport, target: ConnectionTarget): Pool;
  drain(): Promise<void>;
}

export function createPools({ connectMs, ...options }: PoolsOptions): Pools {
  const pools = new Map<ConnectionTarget, Pool>();
  return {
    get(transport, target) {
      let pool = pools.get(target);
      if (!pool) {
        pool = createPool({ ...options, open: () => transport.open(target, connectMs) });
        pools.set(target, pool);
      }
      return pool;
    },
    async drain() {
      await Promise.all([...pools.values()].map((pool) => pool.drain()));
    },
  };
}
