import { Refusal } from './gateway-login.ts';
import type { Upstream } from './gateway-upstream.ts';

export type Provider = 'neon' | 'planetscale';

/** What a port of the gateway leads to: the server itself, a transaction pooler in front of it, a replica. */
export type Entrance = 'direct' | 'pooled' | 'replica';

export interface Route {
  upstream: Upstream;
  /** The role in PostgreSQL. */
  role: string;
  pooled: boolean;
}

/** @throws {Refusal} for a user that does not match the entrance */
export type Router = (user: string, entrance: Entrance) => Route;

/** https://planetscale.com/docs/postgres/connecting: `{role}.{branch}`, then perhaps `|replica` or `|<PgBouncer>`. */
const PLANETSCALE_USER = /^(?<role>[^|]+)\.(?<branch>[^.|]+)(?:\|(?<suffix>.*))?$/;

/** PlanetScale's ports for these two. */
const PORTS = new Map<number, Entrance>([
  [5432, 'direct'],
  [6432, 'pooled'],
]);

/** What a port in an address leads to: the provider's own, or one of this gateway's; any other was mapped on the way here. */
export function entranceOf(
  port: number,
  listeners: ReadonlyMap<Entrance, { port: number }>,
  arrived: Entrance,
): Entrance {
  for (const [entrance, listener] of listeners) if (listener.port === port) return entrance;
  return PORTS.get(port) ?? arrived;
}

export function createRouter(provider: Provider, primary: Upstream, replica: Upstream | undefined): Router {
  return (user, entrance) => {
    const pooled = entrance === 'pooled';
    if (provider === 'neon') {
      return { upstream: entrance === 'replica' && replica ? replica : primary, role: user, pooled };
    }
    const { role, suffix } = PLANETSCALE_USER.exec(user)?.groups ?? {};
    if (role === undefined) throw new Refusal('28000', 'username must include branch: {role}.{branch}');
    if (suffix === undefined) return { upstream: primary, role, pooled };
    if (suffix !== 'replica') {
      if (pooled) return { upstream: primary, role, pooled };
      throw new Refusal('28000', `|${suffix} names a PgBouncer, which listens on the pooled port (6432)`);
    }
    if (pooled) {
      throw new Refusal('28000', '|replica goes with the direct port (5432): the pooler (6432) leads to the primary');
    }
    if (!replica) throw new Refusal('28000', 'there is no replica: start the gateway with one');
    return { upstream: replica, role, pooled };
  };
}
