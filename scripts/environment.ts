import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { isSame, type TransportKind } from '../src/config.ts';
import { type ConnectionTarget, parseConnectionString } from '../src/db/connection-string.ts';

/** In the data directory, while `npm run dev` is running: how to reach its database. */
export const RUNNING_FILE = 'running.json';

export interface Running {
  /** Of `npm run dev`. */
  pid: number;
  /** Through the gateway. */
  url: Record<'app' | 'owner', string>;
  /** To PostgreSQL itself. */
  tcpUrl: Record<'app' | 'owner', string>;
}

/** @throws {Error} when it is not text in UTF-8, as `>` writes it in Windows PowerShell */
function readDotEnv(): Record<string, string | undefined> {
  // Python keeps a virtual environment in a directory of this name.
  if (!existsSync('.env') || statSync('.env').isDirectory()) return {};
  const text = readFileSync('.env', 'utf8').replace(/^\uFEFF/, ''); // some editors put a byte order mark in front
  if (text.includes('\0')) throw new Error('.env is not text in UTF-8: save it as such.');
  return parseEnv(text);
}

/** The environment with what .env adds to it; a variable that is already set wins. */
export function loadEnvironment(): NodeJS.ProcessEnv {
  return { ...readDotEnv(), ...process.env };
}

/** The variables that say where the database is: `npm run dev` sets them itself. */
const DATABASE_VARIABLE = /^DATABASE_(URL|URL_UNPOOLED|REPLICA_URL|OWNER_URL|TRANSPORT)$/;

/** The variables in .env that are not about the database: an application's own, which it gets whatever runs it. */
export function ownVariables(): Record<string, string> {
  const environment = loadEnvironment();
  const names = Object.keys(readDotEnv()).filter((name) => !DATABASE_VARIABLE.test(name));
  return Object.fromEntries(names.map((name) => [name, environment[name] ?? '']));
}

export interface DatabaseUrls {
  /** The application's role. */
  app: string;
  /** The role that owns the tables. */
  owner: string;
  /** To PostgreSQL itself, as the owner, for tools that do not speak to the gateway. */
  tool: string;
  /** How the first two are reached. */
  transport: TransportKind;
  /** Which database this is, for people to read. */
  name: string;
}

/**
 * The database that `npm run db:…` works on: that of the environment or .env, or else the one of a running `npm run dev`.
 * @param data the data directory of `npm run dev`
 * @throws {Error} that says what to set when there is neither, only one of the two URLs, or one that shows another database
 */
export function databaseUrls(data = '.local'): DatabaseUrls {
  const { DATABASE_URL: app, DATABASE_OWNER_URL: owner, DATABASE_TRANSPORT } = loadEnvironment();
  const transport = DATABASE_TRANSPORT || 'neon'; // a line of .env may be left empty
  if (app && owner) {
    if (transport !== 'neon' && transport !== 'tcp') throw new Error('DATABASE_TRANSPORT must be neon or tcp.');
    const [target, ownerTarget] = [parse('DATABASE_URL', app), parse('DATABASE_OWNER_URL', owner)];
    if (!isOneDatabase(target, ownerTarget)) {
      throw new Error(
        `DATABASE_URL leads to ${describe(target)}, DATABASE_OWNER_URL to ${describe(ownerTarget)}: is one of them exported, which wins over .env? Or does one go through a tunnel? Then set both to the provider's address.`,
      );
    }
    return { app, owner, tool: withTls(owner), transport, name: `${describe(ownerTarget)} (DATABASE_OWNER_URL)` };
  }
  if (app || owner) {
    const [set, missing] = app ? ['DATABASE_URL', 'DATABASE_OWNER_URL'] : ['DATABASE_OWNER_URL', 'DATABASE_URL'];
    throw new Error(`${set} is set, ${missing} is not: set both, or neither for the database of "npm run dev".`);
  }
  const running = findRunning(data);
  if (running) {
    const { url, tcpUrl } = running;
    return { ...url, tool: tcpUrl.owner, transport: 'neon', name: 'the local database of npm run dev' };
  }
  throw new Error(
    'Start "npm run dev" for the local database, or set DATABASE_URL and DATABASE_OWNER_URL in .env (see .env.example).',
  );
}

/** As far as the addresses tell. An exported DATABASE_URL of another database must not have the one in .env migrated. */
function isOneDatabase(app: ConnectionTarget, owner: ConnectionTarget): boolean {
  const isUnknown = [app, owner].some(({ provider }) => provider === 'other');
  return (isUnknown || app.provider === owner.provider) && isSame(app, owner, ['database', 'branch']);
}

const describe = ({ database, branch, host }: ConnectionTarget) =>
  `${database}${branch === undefined ? '' : ` (branch ${branch})`} on ${host}`;

/** A URL for tools that obey its parameters, unlike `src/db`: with TLS everywhere but on this machine. */
export function withTls(connectionString: string): string {
  const url = new URL(connectionString);
  url.search = parseConnectionString(connectionString).provider === 'local' ? '' : 'sslmode=verify-full';
  return url.href;
}

/** @throws {Error} that names the variable */
function parse(name: string, url: string) {
  try {
    return parseConnectionString(url);
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
  }
}

function findRunning(data: string): Running | undefined {
  try {
    const running = JSON.parse(readFileSync(path.join(data, RUNNING_FILE), 'utf8')) as Running;
    process.kill(running.pid, 0); // the file outlives a process that was killed
    return running;
  } catch {
    return undefined;
  }
}
