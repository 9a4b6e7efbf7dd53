import { type DatabaseError, misuse } from './error.ts';

/** Where a connection string leads. The password is not enumerable: it shows in no log and no JSON. */
export interface ConnectionTarget {
  readonly provider: 'neon' | 'planetscale' | 'local' | 'other';
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** As the server is told it, with PlanetScale's branch and suffix. */
  readonly user: string;
  readonly password: string;
  /** The role in PostgreSQL. */
  readonly role: string;
  /** PlanetScale: the branch, and what stands behind `|`: `replica`, or the name of a PgBouncer. */
  readonly branch?: string;
  readonly suffix?: string;
  /** `pooled` leads through a transaction pooler, which keeps no session state. */
  readonly route: 'direct' | 'pooled';
  /** What the address says; a replica of Neon and a PgBouncer of PlanetScale do not tell by their names. */
  readonly server: 'primary' | 'replica' | 'unknown';
  /** `private` is reachable inside a cloud network alone, and over TCP alone. */
  readonly network: 'public' | 'private';
}

// https://planetscale.com/docs/postgres/connecting: PostgreSQL itself, PgBouncer in front of it, and who logs in.
const DIRECT_PORT = 5432;
const POOLER_PORT = 6432;
const PLANETSCALE_USER = /^(?<role>[^|]+)\.(?<branch>[^.|]+)(?:\|(?<suffix>.+))?$/;

/**
 * Reads a `postgresql://` URL. Its parameters are dropped: some break JavaScript drivers (`sslrootcert=system`,
 * `sslnegotiation`), and TLS is not theirs to decide: verified everywhere but on a loopback address.
 * @throws {DatabaseError} with what cannot work, before anything connects; never with the URL, which holds the password
 */
export function parseConnectionString(connectionString: string): ConnectionTarget {
  const url = parseUrl(connectionString);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  const user = decode(url.username, 'user');
  const password = decode(url.password, 'password');
  const database = decode(url.pathname.slice(1), 'database');
  for (const [part, value] of Object.entries({ host, user, password, database })) {
    if (value === '') throw refused(`it has no ${part}`);
  }
  const provider = providerOf(host);
  if (provider !== 'local' && url.searchParams.get('sslmode') === 'disable') {
    throw refused(`sslmode=disable is refused for ${host}: only a loopback address may go without TLS`);
  }
  const port = url.port === '' ? DIRECT_PORT : Number(url.port);
  const target = { provider, host, port, database, user, ...routeOf(provider, host, port, user) };
  return withPassword(target, password);
}

/**
 * The same database without the transaction pooler, where that is certain.
 * @returns undefined where it is not: a named PgBouncer may lead to the primary or to a replica
 */
export function directTarget(target: ConnectionTarget): ConnectionTarget | undefined {
  if (target.route === 'direct') return target;
  if (target.suffix !== undefined) return undefined;
  const where = target.provider === 'neon' ? { host: target.host.replace('-pooler.', '.') } : { port: DIRECT_PORT };
  return withPassword({ ...target, ...where, route: 'direct' }, target.password);
}

/** What is wrong with an application that uses this role, and what to do about it; undefined when nothing is. */
export function roleWarning({ role, provider }: ConnectionTarget): string | undefined {
  if (role !== 'postgres') return undefined;
  const remedy =
    provider === 'planetscale'
      ? 'make one with "pscale role create" or in the dashboard'
      : `make one with CREATE ROLE app LOGIN PASSWORD '…' and grant it what it needs`;
  return `The role "postgres" is not for applications: it may do nearly everything and bypasses row-level security; ${remedy}.`;
}

type Route = Pick<ConnectionTarget, 'role' | 'branch' | 'suffix' | 'route' | 'server' | 'network'>;

function routeOf(provider: ConnectionTarget['provider'], host: string, port: number, user: string): Route {
  const { role, branch, suffix } = PLANETSCALE_USER.exec(user)?.groups ?? {};
  const plain: Route = { role: user, route: 'direct', server: 'unknown', network: 'public' };
  if (provider === 'neon' && host.includes('-pooler.')) return { ...plain, route: 'pooled' };
  if (provider === 'neon' || provider === 'other') return plain;
  if (role === undefined || branch === undefined) {
    if (provider === 'local') return plain;
    throw refused('PlanetScale’s user names are {role}.{branch}');
  }
  const named = { ...plain, role, branch, ...(suffix !== undefined && { suffix }) };
  const server = suffix === undefined ? 'primary' : suffix === 'replica' ? 'replica' : 'unknown';
  if (provider === 'local') return { ...named, server }; // a stand-in for PlanetScale, on any port
  if (port !== DIRECT_PORT && port !== POOLER_PORT) {
    throw refused(`PlanetScale listens on ${DIRECT_PORT} (PostgreSQL) and ${POOLER_PORT} (PgBouncer), not on ${port}`);
  }
  if (port === POOLER_PORT && server === 'replica') {
    throw refused(`|replica goes with port ${DIRECT_PORT}: PgBouncer on ${POOLER_PORT} leads to the primary`);
  }
  if (port === DIRECT_PORT && server === 'unknown') {
    throw refused(`|${suffix} names a PgBouncer, which listens on ${POOLER_PORT}`);
  }
  const network = host.endsWith('.private-pg.psdb.cloud') ? 'private' : 'public';
  return { ...named, server, network, route: port === POOLER_PORT ? 'pooled' : 'direct' };
}

function withPassword(target: Omit<ConnectionTarget, 'password'>, password: string): ConnectionTarget {
  return Object.defineProperty({ ...target, password }, 'password', { enumerable: false });
}

function parseUrl(connectionString: string): URL {
  if (!/^postgres(ql)?:\/\//.test(connectionString)) throw refused('it does not start with postgresql://');
  try {
    return new URL(connectionString);
  } catch {
    throw refused('it is not a valid URL: characters such as @ / # ? in the password must be percent-encoded');
  }
}

function providerOf(host: string): ConnectionTarget['provider'] {
  if (host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)) return 'local';
  if (host.endsWith('.neon.tech')) return 'neon';
  if (host.endsWith('.psdb.cloud')) return 'planetscale';
  return 'other';
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused(`its ${part} is not percent-encoded correctly`);
  }
}

function refused(problem: string): DatabaseError {
  return misuse(`The connection string cannot be used: ${problem}.`);
}
