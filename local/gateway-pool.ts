import type { EventEmitter } from 'node:events';
import type { Session } from './gateway-session.ts';
import type { Upstream } from './gateway-upstream.ts';

export interface PoolOptions {
  /** Connections per user and database. */
  max: number;
  /** Milliseconds that a request waits for one of them. */
  waitMs: number;
}

export interface Login {
  upstream: Upstream;
  user: string;
  password: string;
  database: string;
}

/** Opens a session; the pool is told when it has been reset, and when it has ended. */
export type OpenSession = (
  login: Login,
  onReset: (session: Session) => void,
  onClosed: (session: Session) => void,
) => Promise<Session>;

export class PoolTimeout extends Error {}

/** Milliseconds after which an idle session is closed. */
const IDLE = 10_000;

/** Milliseconds after which a session in use is replaced: its password may have been changed. */
const MAX_AGE = 60_000;

interface Waiter {
  password: string;
  resolve: (session: Session) => void;
  reject: (error: unknown) => void;
  timer: NodeJS.Timeout;
}

interface Idle {
  session: Session;
  password: string;
  since: number;
}

/** Sessions on one server for one user and one database. */
interface Bucket {
  open: number;
  idle: Idle[];
  waiting: Waiter[];
}

/** Sessions that serve one request after another. Requests that find none wait, in order. */
export function createPool(openSession: OpenSession, { max, waitMs }: PoolOptions) {
  const buckets = new Map<string, Bucket>();
  const all = new Set<Session>();
  let closed = false;

  const bucketFor = ({ upstream: { host, port }, user, database }: Login): Bucket => {
    const key = JSON.stringify([host, port, user, database]);
    let bucket = buckets.get(key);
    if (!bucket) buckets.set(key, (bucket = { open: 0, idle: [], waiting: [] }));
    return bucket;
  };

  const open = async (bucket: Bucket, login: Login): Promise<Session> => {
    bucket.open++;
    const expires = performance.now() + MAX_AGE;
    try {
      const session = await openSession(
        login,
        (reset) => (performance.now() < expires ? give(bucket, login, reset) : reset.close()),
        (ended) => {
          all.delete(ended);
          bucket.idle = bucket.idle.filter((idle) => idle.session !== ended);
          leave(bucket, login);
        },
      );
      all.add(session);
      if (closed) session.close();
      return session;
    } catch (error) {
      leave(bucket, login);
      throw error;
    }
  };

  /** A place is free: the first in the queue opens a session of its own. */
  const leave = (bucket: Bucket, login: Login) => {
    bucket.open--;
    const waiter = bucket.waiting.shift();
    if (!waiter) return;
    clearTimeout(waiter.timer);
    open(bucket, { ...login, password: waiter.password }).then(waiter.resolve, waiter.reject);
  };

  const give = (bucket: Bucket, { password }: Login, session: Session) => {
    const [waiter] = bucket.waiting;
    if (!waiter) {
      bucket.idle.push({ session, password, since: performance.now() });
    } else if (waiter.password === password) {
      bucket.waiting.shift();
      clearTimeout(waiter.timer);
      waiter.resolve(session);
    } else {
      session.close(); // a session is for those who know its password; the waiter opens another
    }
  };

  const wait = (bucket: Bucket, password: string, client: EventEmitter) =>
    new Promise<Session>((resolve, reject) => {
      let gone = false;
      const giveUp = (error: Error) => {
        gone = true;
        clearTimeout(waiter.timer);
        bucket.waiting = bucket.waiting.filter((other) => other !== waiter);
        reject(error);
      };
      const timer = setTimeout(() => {
        giveUp(new PoolTimeout(`waited ${waitMs} ms for one of ${max} connections, and all were busy`));
      }, waitMs);
      // If it has given up, a session that was opened for it meanwhile is nobody's, and would keep its place.
      const take = (session: Session) => (gone ? session.close() : resolve(session));
      const waiter = { password, resolve: take, reject, timer };
      bucket.waiting.push(waiter);
      client.once('close', () => giveUp(new Error('the client has disconnected')));
    });

  const sweep = setInterval(() => {
    for (const [key, bucket] of buckets) {
      for (const { session, since } of bucket.idle) if (performance.now() - since > IDLE) session.close();
      if (bucket.open === 0 && bucket.waiting.length === 0) buckets.delete(key);
    }
  }, IDLE / 2).unref();

  return {
    /**
     * A session that was reset, or a new one. Its `run` gives it back.
     * @param client its `close` ends the wait
     * @throws {PoolTimeout} when the wait was too long
     */
    acquire(login: Login, client: EventEmitter): Promise<Session> {
      const bucket = bucketFor(login);
      const fits = ({ session, password }: Idle) => session.usable && password === login.password;
      const at = bucket.idle.findLastIndex(fits);
      const [found] = at < 0 ? [] : bucket.idle.splice(at, 1);
      if (found) return Promise.resolve(found.session);
      if (bucket.open < max) return open(bucket, login);
      const waiting = wait(bucket, login.password, client);
      bucket.idle.pop()?.session.close(); // of another password
      return waiting;
    },
    close(): void {
      closed = true;
      clearInterval(sweep);
      for (const { waiting } of buckets.values()) {
        for (const { reject, timer } of waiting.splice(0)) {
          clearTimeout(timer);
          reject(new Error('the gateway is closing'));
        }
      }
      for (const session of all) session.close();
    },
  };
}
