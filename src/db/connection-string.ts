import { misuse } from './error.ts';

/** Where a connection string leads. The password is not enumerable: it appears in no log and no JSON. */
export interface ConnectionTarget {
  readonly provider: 'neon' | 'planetscale' | 'local' | 'other';
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** As sent to the server, with PlanetScale's branch and suffix. */
  readonly user: string;
  readonly password: string;
  /** The role in PostgreSQL. */
  readonly role: string;
  /** PlanetScale: the branch, and what follows `|`: `replica`, or the name of a PgBouncer. */
  readonly branch: string | undefined;
  readonly suffix: string | undefined;
  /** `pooled` leads through a transaction pooler, which keeps no session state. */
  readonly route: 'direct' | 'pooled';
  /** As far as the address tells: the names of Neon's replicas and PlanetScale's PgBouncers do not show it. */
  readonly server: 'primary' | 'replica' | 'unknown';
  /** `private` is reachable only inside a cloud network, and only over TCP. */
  readonly network: 'public' | 'private';
}

// https://planetscale.com/docs/postgres/connecting: the ports of PostgreSQL itself and of its PgBouncer, and its user names.
const DIRECT_PORT = 5432;
const POOLER_PORT = 6432;
const PLANETSCALE_USER = /^([^|]+)\.([^.|]+)(?:\|(.+))?$/;

/**
 * Parses a `postgresql://` URL. Its parameters are dropped: some break JavaScript drivers (`sslrootcert=system`,
 * `sslnegotiation`), and they do not decide about TLS, which is verified everywhere but on a loopback address.
 * @throws {DatabaseError} that says what cannot work, before anything connects; never the URL, which holds the password
 */
export function parseConnectionString(connectionString: string): ConnectionTarget {
  const { url, parts } = decode(connectionString);
  const [user, password, database] = parts as [string, string, string];
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  refuse(!user, 'no user');
  refuse(!password, 'no password');
  refuse(!database, 'no database');
  const port = Number(url.port) || DIRECT_PORT;

  const provider = providerOf(host);
  const isLocal = provider === 'local';
  const isPlanetScale = provider === 'planetscale';
  refuse(!isLocal && url.search.includes('sslmode=disable'), `${host} needs TLS: no sslmode=disable`);
  // A loopback address may stand in for PlanetScale, on any port.
  const named = isLocal || isPlanetScale ? PLANETSCALE_USER.exec(user) : null;
  const [, role = user, branch, suffix] = named ?? [];
  const server = suffix === 'replica' ? 'replica' : named && !suffix ? 'primary' : 'unknown';
  const isPooler = isPlanetScale ? port === POOLER_PORT : provider === 'neon' && host.includes('-pooler.');
  if (isPlanetScale) {
    refuse(!named, 'PlanetScale users are {role}.{branch}');
    refuse(!isPooler && port !== DIRECT_PORT, `PlanetScale is on ${DIRECT_PORT} and ${POOLER_PORT}`);
    refuse(isPooler && server === 'replica', `|replica is on ${DIRECT_PORT}`);
    refuse(!isPooler && server === 'unknown', `|${suffix} names a PgBouncer, on port ${POOLER_PORT}`);
  }
  const network = host.endsWith('.private-pg.psdb.cloud') ? 'private' : 'public';
  const route = isPooler ? 'pooled' : 'direct';
  return withPassword({ provider, host, port, database, user, role, branch, suffix, route, server, network }, password);
}

/** The same database without the transaction pooler; undefined for a named PgBouncer, which may lead to a replica. */
export function directTarget(target: ConnectionTarget): ConnectionTarget | undefined {
  if (target.route === 'direct') return target;
  if (target.suffix) return undefined;
  const where = target.provider === 'neon' ? { host: target.host.replace('-pooler.', '.') } : { port: DIRECT_PORT };
  return withPassword({ ...target, ...where, route: 'direct' }, target.password);
}

/**
 * What the Neon driver needs: the URL for HTTP, the WebSocket's URL without its scheme, and the target's own address.
 * @throws {DatabaseError} for a host that has no such endpoint: the request would carry the password to a stranger
 */
export function endpointsOf({ provider, network, host, port, branch }: ConnectionTarget) {
  if (provider === 'other' || network === 'private') {
    throw misuse(`${host} is no public address of Neon or PlanetScale: use tcp.`);
  }
  const name = host.includes(':') ? `[${host}]` : host;
  const address = `${name}:${port}`;
  const authority = provider === 'local' ? address : name;
  // Neon's proxy finds the database by the host name, PlanetScale's by the `address` parameter, whose port is the route.
  const webSocket = `${authority}/v2${branch ? `?address=${address}` : ''}`;
  const http = provider === 'neon' ? host.replace(/^[^.]+\./, 'api.') : authority; // for Neon, the driver's own default
  return { address, webSocket, http: `http${provider === 'local' ? '' : 's'}://${http}/sql` };
}

function withPassword(target: Omit<ConnectionTarget, 'password'>, password: string): ConnectionTarget {
  return Object.defineProperty(target, 'password', { value: password }) as ConnectionTarget;
}

function decode(connectionString: string) {
  try {
    // No @ after the authority: one there means that it ended inside the password, and the wrong part is taken for the host.
    const url = new URL(String(/^postgres(?:ql)?:\/\/[^/?#]*[^@]*$/.exec(connectionString)));
    return { url, parts: [url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent) };
  } catch {
    throw misuse(BAD + 'unset, or no postgresql:// URL: percent-encode @ / # ? %');
  }
}

function providerOf(host: string): ConnectionTarget['provider'] {
  if (/^(localhost|::1|127(\.\d+){3})$/.test(host)) return 'local';
  if (host.endsWith('.neon.tech')) return 'neon';
  return host.endsWith('.psdb.cloud') ? 'planetscale' : 'other';
}

const BAD = 'Bad connection string: ';

function refuse(isWrong: boolean, problem: string): void {
  if (isWrong) throw misuse(BAD + problem);
}
