import type { Timeouts } from './internal/deadline.ts';
import { createDrizzle, type PinnedSession, type Queryable, type Schema } from './drizzle.ts';
import { createExecutor, type RequestScope } from './executor.ts';
import { createPools, type Pools } from './internal/pool.ts';
import { createRetries, type RetryOptions } from './internal/retry.ts';
import { createTargets, type DatabaseUrls } from './internal/targets.ts';
import type { Transports } from './transport.ts';

export type { PinnedSession, Queryable, Schema, Transaction } from './drizzle.ts';
export type { QueryEvent, RequestScope } from './executor.ts';
export type { DatabaseUrl, DatabaseUrls } from './internal/targets.ts';

export interface DatabaseOptions<TSchema extends Schema> extends DatabaseUrls {
  /** drizzle tables and relations. */
  schema: TSchema;
  transports: Transports;
  /** How long a socket may live: `request` on Cloudflare Workers, where it cannot serve another; else `instance`. */
  sockets: 'request' | 'instance';
  /** Sockets open at once to one address, for a request or for the instance. */
  maxSockets?: number | undefined;
  timeouts?: Partial<Timeouts> | undefined;
  retry?: Partial<RetryOptions> | undefined;
  /** Told once what is unwise about the configuration. Default: `console.warn`. */
  onWarning?: ((message: string) => void) | undefined;
}

/** Made by `createDatabase`. */
export interface Database<TSchema extends Schema = Schema> extends Queryable<TSchema> {
  /** The database for one request. Costs and opens nothing; `close` it when the response is ready. */
  readonly forRequest: (scope: RequestScope) => Database<TSchema>;
  /** Closes idle sockets now, busy ones after their work; for a request, none that are the instance's. Idempotent. */
  readonly close: () => Promise<void>;
  /**
   * Reads from the replica, which may lag. Reads from the primary where there is no replica or it does not answer, and once
   * this database (a request's, if it is one) may have written: anything but a `select` counts as that.
   */
  readonly replica: Pick<Queryable<TSchema>, 'select' | 'selectDistinct' | 'selectDistinctOn' | 'query' | '$count'>;
  /** Lends a direct connection of its own, closed afterwards: for advisory locks, LISTEN, cursors, temporary tables. */
  readonly session: <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) => Promise<T>;
}

/** Workers allow a request six connections at once, those of HTTP requests included. */
const DEFAULT_MAX_SOCKETS = { request: 4, instance: 10 };

/** A suspended Neon database wakes within a second or two; a request to an edge API lasts no minute. */
const DEFAULT_TIMEOUTS: Timeouts = { connectMs: 10_000, statementMs: 30_000, operationMs: 60_000 };
const TIMEOUTS = Object.keys(DEFAULT_TIMEOUTS) as (keyof Timeouts)[];

/** Some 23 days. Timers that are to wait 2 ** 31 ms or more end at once, and PostgreSQL refuses such a limit. */
const MAX_MS = 2_000_000_000;

/**
 * A drizzle database that picks the transport for what is asked of it. Opens nothing until the first statement.
 *
 * @example
 * const transports = { http: neonHttp(), websocket: neonWebSocket() };
 * const database = createDatabase({ url, schema, transports, sockets: 'request' });
 * const db = database.forRequest({ waitUntil });
 * await db.select().from(accounts); // HTTP, one round trip
 * await db.transaction(async (tx) => { … }); // WebSocket
 *
 * @throws {DatabaseError} when a connection string cannot be used
 */
export function createDatabase<TSchema extends Schema>(options: DatabaseOptions<TSchema>): Database<TSchema> {
  const { schema, transports, sockets, maxSockets = DEFAULT_MAX_SOCKETS[sockets] } = options;
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  for (const name of TIMEOUTS) timeouts[name] = Math.min(timeouts[name], MAX_MS);
  const findTargets = createTargets(options, timeouts.connectMs, options.onWarning ?? console.warn);
  const retries = createRetries(options.retry);
  const drizzle = createDrizzle(schema);

  const create = (scope: RequestScope, pools: Pools, close: () => Promise<void>): Database<TSchema> => {
    const executor = createExecutor({ transports, findTargets, timeouts, retries }, pools, scope);
    const session = <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) =>
      executor.session((pinned) => callback(drizzle.openSession(pinned)));
    const replica = drizzle.open({ ...executor, send: executor.read });
    return Object.assign(drizzle.open(executor, session), { forRequest, close, session, replica });
  };

  const isolated = sockets === 'request';
  // What is asked of no request's database shares nothing: a socket dies with the request that opened it.
  const instancePools = createPools(maxSockets, timeouts.connectMs, isolated);
  const forRequest = (scope: RequestScope): Database<TSchema> => {
    if (!isolated) return create(scope, instancePools, async () => {}); // they outlive the request
    const pools = createPools(maxSockets, timeouts.connectMs);
    return create(scope, pools, () => {
      const drained = pools.drain();
      scope.waitUntil?.(drained);
      return drained;
    });
  };
  return create({}, instancePools, () => instancePools.drain());
}
