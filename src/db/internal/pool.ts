import type { ConnectionTarget } from '../connection-string.ts';
import { type Connection, IDLE_MS, type SocketTransport } from '../transport.ts';

export type Pool = ReturnType<typeof createPool>;
export type Pools = ReturnType<typeof createPools>;

/**
 * The pools of one lifetime, one per address.
 * @param max connections open at once to one address; further callers wait
 * @param connectMs milliseconds until a connection must be usable
 * @param closed from the start, as after `drain`: each use gets a pool of its own, which keeps nothing
 */
export function createPools(max: number, connectMs: number, closed = false) {
  const pools = new Map<ConnectionTarget, Pool>();
  return {
    at(transport: SocketTransport, target: ConnectionTarget): Pool {
      const pool = pools.get(target) ?? createPool(() => transport.open(target, connectMs), max, closed);
      if (!closed) pools.set(target, pool);
      return pool;
    },

    /** For addresses that are no longer used: keeps no connections to them. */
    retire(targets: object): void {
      for (const target of Object.values(targets) as ConnectionTarget[]) {
        const drained = pools.get(target)?.drain();
        void drained?.then(() => pools.delete(target));
      }
    },

    /** Closes idle connections now, and those in use when they come back. Resolves when all are closed. Idempotent. */
    async drain(): Promise<void> {
      closed = true;
      await Promise.all([...pools.values()].map((pool) => pool.drain()));
    },
  };
}

function createPool(open: () => Connection, max: number, closed: boolean) {
  const idle: { connection: Connection; since: number; timer: ReturnType<typeof setTimeout> }[] = [];
  let lent = 0;
  /** Called when no connection is lent any more. */
  const onDrained: (() => void)[] = [];
  /** First come, first served. */
  const waiting = new Set<() => void>();
  const waitForPlace = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      waiting.add(resolve);
      signal.addEventListener('abort', () => waiting.delete(resolve));
    });
  const leavePlace = () => {
    const [next] = waiting;
    if (next) {
      waiting.delete(next);
      next();
    } else if (--lent === 0) for (const settle of onDrained) settle();
  };

  const takeIdle = (): Connection | undefined => {
    const { connection, timer = 0, since = 0 } = idle.pop() ?? {};
    clearTimeout(timer);
    // By the wall clock, although it may be set back: in a process that was frozen, so were the timers and, on Lambda,
    // perhaps even the clock of `performance.now()`.
    if (!connection || (connection.transactionStatus && Math.abs(Date.now() - since) < IDLE_MS)) return connection;
    void connection.close();
    return takeIdle();
  };

  return {
    /** @param fresh opens a new connection instead of reusing an idle one */
    async acquire(signal: AbortSignal, fresh: boolean): Promise<Connection> {
      if (lent < max) lent++;
      else await waitForPlace(signal);
      try {
        signal.throwIfAborted();
        // Makes room: together with the idle ones, a new connection could be one too many.
        if (fresh && lent + idle.length > max) void takeIdle()?.close();
        return (!fresh && takeIdle()) || open();
      } catch (error) {
        leavePlace();
        throw error;
      }
    },

    /** Takes a connection back: keeps it for the next caller if it is `clean`, closes it otherwise. */
    async release(connection: Connection, clean: boolean): Promise<void> {
      if (clean && !closed && connection.transactionStatus === 'I') {
        const timer = setTimeout(() => void connection.close(), IDLE_MS);
        // In Node, the timer must not keep the process alive once the server has ended the socket; elsewhere it is a number.
        (timer as { unref?: () => void }).unref?.();
        idle.push({ connection, timer, since: Date.now() });
      } else {
        await connection.close();
      }
      leavePlace();
    },

    /** Closes idle connections now, and those in use when they come back. Resolves when all are closed. Idempotent. */
    async drain(): Promise<void> {
      closed = true;
      while (idle.length) void takeIdle()?.close();
      if (lent > 0) await new Promise<void>((resolve) => onDrained.push(resolve));
    },
  };
}
