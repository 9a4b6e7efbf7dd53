import { type ConnectionTarget, directTarget, endpointsOf, parseConnectionString } from './db/connection-string.ts';

export type TransportKind = 'neon' | 'tcp';

export interface Config {
  database: {
    url: string;
    unpooledUrl: string | undefined;
    replicaUrl: string | undefined;
  };
  /** The Neon driver's HTTP and WebSocket, or plain TCP. */
  transport: TransportKind;
  /** The bearer token that callers of the API send. */
  apiToken: string;
  /** The one before it, which is still valid: set while callers change to the new one. */
  previousApiToken: string | undefined;
}

/** The characters that a bearer token may have (RFC 6750, section 2.1), and enough of them that it cannot be guessed. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,}=*$/;

/** Lists everything that is wrong with the environment, by variable. Shows no values: they are secrets. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(problems: readonly string[]) {
    super(`The environment is invalid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

/**
 * Reads the configuration from environment variables.
 * @param carried the transports in the entry's bundle, the default first
 * @throws {ConfigError} that lists every problem
 */
export function parseConfig(env: Record<string, unknown>, carried: readonly TransportKind[] = ['neon']): Config {
  const problems: string[] = [];
  const targets = new Map<string, ConnectionTarget>();

  const text = (name: string): string | undefined => {
    const value = env[name];
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
  };
  const connectionString = (name: string): string | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    try {
      const target = parseConnectionString(value);
      if (transport === 'neon') endpointsOf(target); // TCP reaches any host
      targets.set(name, target);
    } catch (error) {
      problems.push(`${name}: ${(error as Error).message}`);
    }
    return value;
  };

  const token = (name: string): string | undefined => {
    const value = text(name);
    if (value !== undefined && !TOKEN.test(value)) {
      problems.push(
        `${name} must be at least 16 letters, digits and characters of ._~+/-, such as "openssl rand -hex 24" prints.`,
      );
    }
    return value;
  };

  const transportName = text('DATABASE_TRANSPORT') ?? carried[0];
  const transport = carried.find((name) => name === transportName);
  if (transport === undefined) {
    problems.push(
      `DATABASE_TRANSPORT: this deployment carries ${carried.join(' and ')} only (see its entry in functions/).`,
    );
  }
  const url = connectionString('DATABASE_URL');
  if (url === undefined) problems.push('DATABASE_URL is not set: the postgresql:// URL of the application’s role.');
  const unpooledUrl = connectionString('DATABASE_URL_UNPOOLED');
  const [pooled, unpooled] = [targets.get('DATABASE_URL'), targets.get('DATABASE_URL_UNPOOLED')];
  // Neon's Vercel integration sets it to the owner's URL: sessions would run as the owner.
  if (pooled && unpooled && !isSame(pooled, unpooled)) {
    problems.push(
      'DATABASE_URL_UNPOOLED names a different role, database or branch than DATABASE_URL: it must be the same without the pooler.',
    );
  }
  const replicaUrl = connectionString('DATABASE_REPLICA_URL');
  const apiToken = token('API_TOKEN');
  if (apiToken === undefined)
    problems.push('API_TOKEN is not set: the bearer token that callers of the API must send.');
  const previousApiToken = token('API_TOKEN_PREVIOUS');

  if (problems.length > 0 || !url || !apiToken || !transport) throw new ConfigError(problems);
  return { database: { url, unpooledUrl, replicaUrl }, transport, apiToken, previousApiToken };
}

/**
 * Whether two addresses lead to the same database; true if their names cannot tell.
 * @param parts what has to be the same: by default, the role too
 */
export function isSame(
  one: ConnectionTarget,
  other: ConnectionTarget,
  parts: readonly ('role' | 'database' | 'branch')[] = ['role', 'database', 'branch'],
): boolean {
  // A pooler of another provider, or one next to the application, may use names of its own.
  if ([one, other].some(({ provider }) => provider === 'other' || provider === 'local')) return true;
  if (parts.some((part) => one[part] !== other[part])) return false;
  // Each Neon branch has its own host.
  return one.provider !== 'neon' || directTarget(one)?.host === directTarget(other)?.host;
}
