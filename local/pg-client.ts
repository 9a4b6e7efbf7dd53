import type pg from 'pg';

/**
 * Settings for every client of the local server. `pg` fills in what is missing from the user's own PG… variables: a PGSSLMODE or
 * PGOPTIONS meant for another server must not reach this one.
 */
export const LOCAL_CLIENT = { ssl: false, options: ' ' } as const satisfies pg.ClientConfig;

/**
 * One row for a superuser's connection, none for anyone else's, whatever role or search path the connection has set meanwhile.
 * `session_user` would fail if the role was dropped meanwhile, with a message other than that of a refused log-in.
 */
export const IS_SUPERUSER = `select from pg_catalog.pg_roles where rolsuper
  and rolname operator(pg_catalog.=) pg_catalog.current_setting('session_authorization')`;

export const SUPERUSER_REFUSED = 'superusers are not allowed to log in through the gateway';
