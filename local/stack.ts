import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { createOnce } from './create-once.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { type Postgres, startPostgres } from './postgres.ts';

export interface StackOptions {
  /** Everything is kept below it. */
  directory: string;
  postgresPort: number;
  /** 0 picks a free one. */
  gatewayPort: number;
  /** Server settings (`postgresql.conf`). */
  settings?: Record<string, string>;
}

export interface Stack {
  postgres: Postgres;
  gateway: Gateway;
  credentials: Credentials;
  /** Through the gateway, for the Neon driver: `app` is what the application uses, `owner` what migrations use. */
  url: Record<Role, string>;
  /** To PostgreSQL itself, for psql and other tools. */
  tcpUrl: Record<Role, string>;
  close(): Promise<void>;
}

type Role = 'app' | 'owner';

/** Made at random on the first start and kept: passwords of the two roles, and the API's bearer token. */
export interface Credentials {
  appPassword: string;
  ownerPassword: string;
  apiToken: string;
}

const ROLES = { app: 'app', owner: 'app_owner' } as const;
const DATABASE = 'app';
const HOST = '127.0.0.1';

/**
 * Starts PostgreSQL with an `app` database, its two roles (neither a superuser), and the gateway in front of it.
 * @throws {AlreadyRunningError} when another process runs on the same directory
 */
export async function startStack({ directory, postgresPort, gatewayPort, settings }: StackOptions): Promise<Stack> {
  const credentials = await readCredentials(directory);
  const postgres = await startPostgres({ directory, port: postgresPort, settings });
  try {
    await createRolesAndDatabase(postgres, credentials);
    const gateway = await startGateway({ upstream: { host: HOST, port: postgres.port }, port: gatewayPort });
    return {
      postgres,
      gateway,
      credentials,
      url: urls(gateway.port, credentials),
      tcpUrl: urls(postgres.port, credentials),
      async close() {
        await gateway.close();
        await postgres.close();
      },
    };
  } catch (error) {
    await postgres.close();
    throw error;
  }
}

function urls(port: number, { appPassword, ownerPassword }: Credentials): Record<Role, string> {
  return {
    app: `postgresql://${ROLES.app}:${appPassword}@${HOST}:${port}/${DATABASE}`,
    owner: `postgresql://${ROLES.owner}:${ownerPassword}@${HOST}:${port}/${DATABASE}`,
  };
}

/** The secrets kept in a directory; made when there are none yet. */
export async function readCredentials(directory: string): Promise<Credentials> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const fresh: Credentials = { appPassword: secret(), ownerPassword: secret(), apiToken: secret() };
  const kept = await createOnce(path.join(directory, 'credentials.json'), JSON.stringify(fresh, null, 2));
  return JSON.parse(kept) as Credentials;
}

function secret(): string {
  return randomBytes(24).toString('hex');
}

/** Safe to run at every start, and after one that was cut off. */
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
    // What a statement may take at most, whatever carries it: the floor under every other deadline.
    await client.query(`alter role ${ROLES.app} set statement_timeout = '30s'`);
    await client.query(`alter role ${ROLES.app} set idle_in_transaction_session_timeout = '60s'`);
    const exists = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (exists.rowCount === 0) await client.query(`create database ${DATABASE} owner ${ROLES.owner}`);
    await client.query(`revoke all on database ${DATABASE} from public`);
    await client.query(`grant connect on database ${DATABASE} to ${ROLES.app}`);
  } finally {
    await client.end();
  }
}
