import { createDrizzle, type PinnedSession, type Queryable, type Schema } from './drizzle.ts';
import { createExecutor } from './executor.ts';
import { settleTimeouts } from './internal/deadline.ts';
import { createPools, type Pools } from './internal/pool.ts';
import { createRetries } from './internal/retry.ts';
import { createTargets } from './internal/targets.ts';
import type { DatabaseOptions, RequestScope } from './options.ts';

export type { PinnedSession, Queryable, Schema, Transaction } from './drizzle.ts';
export type { DatabaseOptions, DatabaseUrl, DatabaseUrls, QueryEvent, RequestScope } from './options.ts';

export interface Database<TSchema extends Schema = Schema> extends Queryable<TSchema> {
  /** The database for one request. Costs and opens nothing; `close` it when the response is ready. */
  readonly forRequest: (scope: RequestScope) => Database<TSchema>;
  /** Closes idle sockets now, busy ones after their work. Idempotent. With `instance` sockets, does nothing for a request. */
  readonly close: () => Promise<void>;
  /**
   * Reads from the replica, which may lag. Reads from the primary if there is no replica, if the replica does not answer, or
   * once this database (if it is a request's, that request) may have written: all but `select` and what is `read only` counts.
   */
  readonly replica: Pick<Queryable<TSchema>, 'select' | 'selectDistinct' | 'selectDistinctOn' | 'query' | '$count'>;
  /** Lends `callback` a new direct connection until it settles. Retries it only if nothing sent over that can have taken effect. */
  readonly session: <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) => Promise<T>;
}

/**
 * A drizzle database that picks the transport for each operation. Opens nothing until the first statement.
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
  const { transports } = options;
  const isPerRequest = options.sockets === 'request';
  // Workers allow each request six connections at once, including those of HTTP requests.
  const { maxSockets = isPerRequest ? 4 : 10 } = options;
  const timeouts = settleTimeouts(options.timeouts);
  const findTargets = createTargets(options, timeouts.connectMs, options.onWarning ?? console.warn);
  const retries = createRetries(options.retry);
  const drizzle = createDrizzle(options);

  const create = (scope: RequestScope, pools: Pools, close: () => Promise<void>): Database<TSchema> => {
    const executor = createExecutor({ transports, findTargets, timeouts, retries }, pools, scope);
    const session = <T>(callback: (session: PinnedSession<TSchema>) => Promise<T>) =>
      executor.session((pinned) => callback(drizzle.openSession(pinned)));
    const replica = drizzle.open({ ...executor, send: executor.read });
    return Object.assign(drizzle.open(executor, session), { forRequest, close, session, replica });
  };

  // Where a socket may serve only one request, each operation outside `forRequest` opens its own.
  const instancePools = createPools(maxSockets, timeouts.connectMs, isPerRequest);
  const forRequest = (scope: RequestScope): Database<TSchema> => {
    if (!isPerRequest) return create(scope, instancePools, async () => {}); // they outlive the request
    const pools = createPools(maxSockets, timeouts.connectMs);
    return create(scope, pools, () => {
      const drained = pools.drain();
      scope.waitUntil?.(drained);
      return drained;
    });
  };
  return create({}, instancePools, () => instancePools.drain());
}
