import type pg from 'pg';

/**
 * Settings for every client of the local server. `pg` fills in what is missing from the user's own PG… variables: a PGSSLMODE or
 * PGOPTIONS meant for another server must not reach this one.
 */
export const LOCAL_CLIENT = { ssl: false, options: ' ' } as const satisfies pg.ClientConfig;

/**
 * One row for a superuser's connection, none for anybody else's; whatever role or search path the connection has taken on
 * meanwhile.
 */
export const IS_SUPERUSER =
  'select from pg_catalog.pg_roles where rolname operator(pg_catalog.=) session_user and rolsuper';

export const SUPERUSER_REFUSED = 'superusers are not allowed to log in through the gateway';
