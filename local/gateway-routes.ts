import { Refusal } from './gateway-login.ts';
import type { Upstream } from './gateway-upstream.ts';

export type Provider = 'neon' | 'planetscale';

/** What a port of the gateway leads to: the server itself, or a transaction pooler in front of it. */
export type Entrance = 'direct' | 'pooled';

export interface Route {
  upstream: Upstream;
  /** The role in PostgreSQL. */
  role: string;
  pooled: boolean;
}

/** @throws {Refusal} for a user that does not go with the entrance */
export type Router = (user: string, entrance: Entrance) => Route;

/** https://planetscale.com/docs/postgres/connecting: `{role}.{branch}`, with `|replica` or `|<PgBouncer>` behind it. */
const PLANETSCALE_USER = /^(?<role>[^|]+)\.(?<branch>[^.|]+)(?:\|(?<suffix>.*))?$/;

export function createRouter(provider: Provider, upstream: Upstream): Router {
  return (user, entrance) => {
    const pooled = entrance === 'pooled';
    if (provider === 'neon') return { upstream, role: user, pooled };
    const { role, suffix } = PLANETSCALE_USER.exec(user)?.groups ?? {};
    if (role === undefined) throw new Refusal('28000', 'username must include branch: {role}.{branch}');
    if (suffix === 'replica' && pooled) {
      throw new Refusal('28000', '|replica goes with the direct port (5432): the pooler (6432) leads to the primary');
    }
    if (suffix !== undefined && suffix !== 'replica' && !pooled) {
      throw new Refusal('28000', `|${suffix} names a PgBouncer, which listens on the pooled port (6432)`);
    }
    return { upstream, role, pooled };
  };
}
