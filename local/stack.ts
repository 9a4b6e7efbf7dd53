import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { createOnce } from './create-once.ts';
import { type Gateway, type GatewayOptions, startGateway } from './gateway.ts';
import type { Upstream } from './gateway-upstream.ts';
import { type Postgres, REPLICA, startPostgres } from './postgres.ts';
import { assertOurs } from './postgres-data.ts';
import { type Standby, startStandby } from './postgres-standby.ts';

export interface StackOptions {
  /** Everything is kept below it. */
  directory: string;
  postgresPort: number;
  /** 0 picks a free one. */
  gatewayPort: number;
  /** Server settings (`postgresql.conf`). */
  settings?: Record<string, string>;
  gateway?: Omit<GatewayOptions, 'upstream' | 'port' | 'replica'>;
  /** A hot standby beside the primary: its port, and how many milliseconds it stays behind. */
  replica?: { port: number; lagMs: number };
}

export interface Stack {
  postgres: Postgres;
  replica: Standby | undefined;
  gateway: Gateway;
  credentials: Credentials;
  /** Through the gateway, for the Neon driver: `app` is what the application uses, `owner` what migrations use. */
  url: Record<Role, string>;
  /** The same through the transaction pooler, and to the replica. */
  pooledUrl: Record<Role, string>;
  replicaUrl: Record<Role, string> | undefined;
  /** To PostgreSQL itself, for psql and other tools. */
  tcpUrl: Record<Role, string>;
  /** Resolves when PostgreSQL or the replica has ended, for whatever reason. */
  ended: Promise<unknown>;
  close(): Promise<void>;
}

type Role = 'app' | 'owner';

/** Generated at random on the first start, and kept: passwords of the two roles, and the API's bearer token. */
export interface Credentials {
  appPassword: string;
  ownerPassword: string;
  apiToken: string;
}

const ROLES = { app: 'app', owner: 'app_owner' } as const;
const DATABASE = 'app';
const HOST = '127.0.0.1';

/** PlanetScale's name for the branch that a new database has. */
const BRANCH = 'main';

/**
 * Starts PostgreSQL with an `app` database, its two roles (neither a superuser), and the gateway in front of it.
 * @throws {Error} when another process runs on the same directory
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { directory, postgresPort, gatewayPort, settings } = options;
  await assertOurs(directory);
  const credentials = await readCredentials(directory);
  const postgres = await startPostgres({ directory, port: postgresPort, settings });
  const started: { close(): Promise<void> }[] = [postgres];
  const close = async () => {
    for (let last = started.pop(); last; last = started.pop()) await last.close();
  };
  try {
    await createRolesAndDatabase(postgres, credentials);
    const replica =
      options.replica &&
      (await startStandby(postgres, { directory: path.join(directory, REPLICA), settings, ...options.replica }));
    if (replica) started.push(replica);
    const gateway = await startGateway({
      ...options.gateway,
      upstream: upstreamOf(postgres),
      port: gatewayPort,
      ...(replica && { replica: upstreamOf(replica) }),
    });
    started.push(gateway);
    const planetscale = options.gateway?.provider === 'planetscale';
    const user = planetscale ? `.${BRANCH}` : '';
    return {
      postgres,
      replica,
      gateway,
      credentials,
      url: urls(gateway, gateway.port, credentials, user),
      pooledUrl: urls(gateway, gateway.poolerPort, credentials, user),
      replicaUrl:
        replica && urls(gateway, gateway.replicaPort ?? gateway.port, credentials, user && `${user}%7Creplica`),
      tcpUrl: urls({ hostname: HOST }, postgres.port, credentials),
      ended: Promise.race([postgres.ended, ...(replica ? [replica.ended] : [])]),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function upstreamOf({ socketDirectory = HOST, port }: Postgres): Upstream {
  return { host: socketDirectory, port };
}

/** @param suffix what PlanetScale's user names have after the role */
function urls(
  { hostname }: { hostname: string },
  port: number,
  { appPassword, ownerPassword }: Credentials,
  suffix = '',
): Record<Role, string> {
  return {
    app: `postgresql://${ROLES.app}${suffix}:${appPassword}@${hostname}:${port}/${DATABASE}`,
    owner: `postgresql://${ROLES.owner}${suffix}:${ownerPassword}@${hostname}:${port}/${DATABASE}`,
  };
}

/**
 * The secrets kept in a directory; generated if there are none yet.
 * @throws {Error} when a file of that name holds something else
 */
export async function readCredentials(directory: string): Promise<Credentials> {
  const isNew = (await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined;
  if (isNew) await writeFile(path.join(directory, '.gitignore'), '*\n'); // it may be in somebody's repository
  const fresh: Credentials = { appPassword: secret(), ownerPassword: secret(), apiToken: secret() };
  const file = path.join(directory, 'credentials.json');
  const kept = parse(await createOnce(file, JSON.stringify(fresh, null, 2)));
  const isWhole = Object.keys(fresh).every((name) => typeof kept?.[name as keyof Credentials] === 'string');
  if (!kept || !isWhole) throw new Error(`${file} belongs to something else: choose another directory with --data.`);
  return kept;
}

function parse(text: string): Credentials | undefined {
  try {
    return JSON.parse(text) as Credentials;
  } catch {
    return undefined; // its message would quote the secrets
  }
}

function secret(): string {
  return randomBytes(24).toString('hex');
}

/** Safe to run at every start, and after an interrupted one. */
async function createRolesAndDatabase(postgres: Postgres, { appPassword, ownerPassword }: Credentials): Promise<void> {
  const client = await postgres.connect();
  try {
    for (const [role, password] of [
      [ROLES.owner, ownerPassword],
      [ROLES.app, appPassword],
    ] as const) {
      const exists = await client.query('select from pg_roles where rolname = $1', [role]);
      const verb = exists.rowCount === 0 ? 'create' : 'alter';
      await client.query(`${verb} role ${role} login password ${pg.escapeLiteral(password)}`);
    }
    // The longest that a statement may take, whatever carries it: the last resort behind every other deadline.
    await client.query(`alter role ${ROLES.app} set statement_timeout = '30s'`);
    await client.query(`alter role ${ROLES.app} set idle_in_transaction_session_timeout = '60s'`);
    const exists = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (exists.rowCount === 0) await client.query(`create database ${DATABASE} owner ${ROLES.owner}`);
    await client.query(`revoke all on database ${DATABASE} from public`);
    await client.query(`grant connect, temporary on database ${DATABASE} to ${ROLES.app}`);
  } finally {
    await client.end();
  }
}
