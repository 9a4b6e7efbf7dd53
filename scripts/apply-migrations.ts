import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { migrate } from 'drizzle-orm/neon-serverless/migrator';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { TransportKind } from '../src/config.ts';
import { directTarget, parseConnectionString } from '../src/db/connection-string.ts';
import { createDatabase, type PinnedSession } from '../src/db/database.ts';
import { DatabaseError } from '../src/db/error.ts';
import { serverTransports } from '../src/server-transports.ts';

/** Milliseconds that one statement may take, such as one that creates an index on a large table. */
const STATEMENT_MS = 60 * 60_000;

/** Milliseconds between two attempts to take the lock. Waiting inside a statement would hold back CREATE INDEX CONCURRENTLY. */
const LOCK_POLL_MS = 500;

/**
 * How long a migration waits for a table. Later statements, even SELECTs, queue behind it: it had better give up, let them
 * pass, and try again.
 */
const LOCK_TIMEOUT = '3s';
const LOCK_TRIES = 5;
const LOCK_PAUSE_MS = 1_000;

/** The SQLSTATE of a statement that has waited for so long. */
const LOCK_NOT_AVAILABLE = '55P03';

/** That of a statement that uses a value which was added to an enum in the same transaction. */
const UNSAFE_NEW_ENUM_VALUE = '55P04';

/** Milliseconds; a database that is suspended wakes in less. */
const SLOW_CONNECTION_MS = 3_000;

/** How often the server checks whether its client is still there, so that the lock of a killed command becomes free again. */
const CONNECTION_CHECK = '5s';

export interface MigrationsOptions {
  /** How to connect. Default: the Neon driver's WebSocket. */
  transport?: TransportKind;
  /** The directory of the migrations and grants.sql. */
  directory?: string;
  /** Called with what it waits for: another migration, a database that does not answer, or others' locks. */
  onWait?: ((reason: string) => void) | undefined;
  /** Called with how many are new, before they are applied. */
  onApply?: ((count: number) => void) | undefined;
  /** Called with what the migrations and the grants should have achieved but have not. */
  onWarning?: ((message: string) => void) | undefined;
}

export interface MigrationsResult {
  /** How many were new. */
  applied: number;
  /** The role that was granted what grants.sql says. */
  role: string;
}

/**
 * Brings a database up to date and grants privileges to the application's role. All new migrations are one transaction. Holds
 * a lock meanwhile: of two runs at once, one waits.
 * @param ownerUrl the role that owns the tables; if it leads through the provider's pooler, the direct address is used
 * @param appUrl names the application's role
 */
export async function applyMigrations(
  ownerUrl: string,
  appUrl: string,
  {
    transport = 'neon',
    directory = fileURLToPath(new URL('../migrations/', import.meta.url)),
    onWait,
    onApply,
    onWarning,
  }: MigrationsOptions = {},
): Promise<MigrationsResult> {
  const owner = parseConnectionString(ownerUrl);
  const { role } = parseConnectionString(appUrl);
  if (role === owner.role) {
    throw new Error(
      `DATABASE_URL and DATABASE_OWNER_URL name the same role, "${role}". Create a second one for the application, which may change rows but not tables.`,
    );
  }
  if (!directTarget(owner)) {
    throw new Error('DATABASE_OWNER_URL leads through a PgBouncer of its own: use port 5432, without |name.');
  }
  const database = createDatabase({
    url: ownerUrl,
    schema: {},
    transports: await serverTransports(transport),
    sockets: 'instance',
    timeouts: { statementMs: STATEMENT_MS },
    onWarning() {}, // it is about the application's role; this is the owner's
  });
  const slow = setTimeout(() => onWait?.('The database has not answered yet: waiting for it'), SLOW_CONNECTION_MS);
  try {
    return await database.session(async (session) => {
      // PostgreSQL on Windows cannot do this, and says so.
      await session
        .execute(sql`select set_config('client_connection_check_interval', ${CONNECTION_CHECK}, false)`)
        .catch(() => {});
      clearTimeout(slow);
      await lock(session, onWait);
      await session.execute(sql`select set_config('lock_timeout', ${LOCK_TIMEOUT}, false)`);
      // A migration that names no schema means public, which is what grants.sql is about, even if the role or the database has
      // another search path, or a schema has the role's name.
      await session.execute(sql`select set_config('search_path', 'public, ' || current_setting('search_path'), false)`);
      const applied = await applyNew(session, directory, { onWait, onApply, onWarning });
      await grant(session, role, directory, onWait);
      await checkDatabase(session, role, onWarning);
      await checkSchema(session, role, onWarning);
      await checkRole(session, role, onWarning);
      await checkIndexes(session, onWarning);
      return { applied, role };
    });
  } finally {
    await database.close();
  }
}

/** Takes a session-level lock: it ends with the connection, however that ends. */
async function lock(session: PinnedSession, onWait?: (reason: string) => void): Promise<void> {
  const attempt = sql`select pg_try_advisory_lock(hashtextextended('migrations', 0)) as locked`;
  const isLocked = async () => (await session.execute<{ locked: boolean }>(attempt)).rows[0]?.locked === true;
  if (await isLocked()) return;
  onWait?.('Another migration is running: waiting for it');
  do await sleep(LOCK_POLL_MS);
  while (!(await isLocked()));
}

const FOREIGN =
  'The database has migrations that are not in migrations/. If it is a local one, recreate it: npm run dev -- --reset';

const AGAIN =
  'and "npm run db:generate" it again; one that was written by hand with "-- --custom", and put its text back.';

/** @returns how many were new */
async function applyNew(
  session: PinnedSession,
  directory: string,
  { onWait, onApply, onWarning }: Pick<MigrationsOptions, 'onWait' | 'onApply' | 'onWarning'>,
): Promise<number> {
  const applied = await readApplied(session);
  const last = Math.max(0, ...applied.keys());
  const known = await readJournal(directory);
  const missing = known.filter(({ when }) => !applied.has(when));
  const hasForeign = [...applied.keys()].some((time) => !known.some(({ when }) => when === time));
  // drizzle does not report a file that is not in the journal: a merge of two branches may have kept only one's journal.
  const isLost = (file: string) => /^\d+_[^.]+\.sql$/.test(file) && !known.some(({ tag }) => file === `${tag}.sql`);
  const lost = (await readdir(directory)).find(isLost);
  if (lost) throw new Error(`${lost} is not in meta/_journal.json, and would never be applied: delete it, ${AGAIN}`);
  // drizzle looks only at the time of the last one, and would skip what a merge has put before it.
  if (missing.some(({ when }) => when < last)) {
    throw new Error(
      hasForeign
        ? FOREIGN
        : `A migration is older than the last one applied, so it would never be applied: delete it, its snapshot and its entry in the journal, ${AGAIN}`,
    );
  }
  const files = readMigrationFiles({ migrationsFolder: directory });
  for (const [i, { tag, when }] of known.entries()) {
    const hash = applied.get(when);
    // drizzle-kit's file for a custom one is a comment without a line break: what a command appends to it becomes part of that.
    if (hash === undefined && files[i]?.sql[0]?.replaceAll(/--.*$/gm, '').trim() === '') {
      throw new Error(
        `${tag}.sql begins with a comment alone: write the statement on a line below it, or "select 1;" to do nothing.`,
      );
    }
    if (hash === undefined || hash === files[i]?.hash) continue;
    onWarning?.(
      `${tag}.sql has changed since it was applied, and will not be applied again: revert it, and make the change in a new migration. For a local database, "npm run dev -- --reset" will do.`,
    );
  }
  if (missing.length > 0) {
    onApply?.(missing.length);
    // drizzle's migrator accepts any of its databases; its type names one of them.
    const migrated = untilUnlocked(() => migrate(session as never, { migrationsFolder: directory }), onWait);
    const files = new Set([missing[0], missing.at(-1)].map((migration) => `${migration?.tag}.sql`));
    // Such as what another branch has created, under a name that this one has taken too.
    const hint = hasForeign ? `. ${FOREIGN}` : '';
    await migrated.catch((error: Error) => explain(error, [...files].join(' to '), hint));
  }
  return missing.length;
}

/** Runs a transaction again if a table stays locked for too long. */
async function untilUnlocked(work: () => Promise<void>, onWait?: (reason: string) => void): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const isLocked = error instanceof DatabaseError && error.code === LOCK_NOT_AVAILABLE;
      if (!isLocked || tries === LOCK_TRIES) throw error;
      onWait?.('Others hold a lock that it needs: trying again');
      await sleep(LOCK_PAUSE_MS);
    }
  }
}

/**
 * Names the files in question: neither drizzle nor PostgreSQL says which of them failed.
 * @param hint follows PostgreSQL's message
 */
function explain(error: Error, files: string, hint = ''): never {
  if (!(error instanceof DatabaseError)) throw error;
  // PostgreSQL's own message speaks of a prepared statement, which nobody wrote.
  const reason = error.message.includes('multiple commands')
    ? 'between two statements there must be a line "--> statement-breakpoint".'
    : error.code === LOCK_NOT_AVAILABLE
      ? `${error.message}. It has not been applied: run it again. For who holds the lock, see the end of docs/errors.md.`
      : error.code === UNSAFE_NEW_ENUM_VALUE
        ? `${error.message}. All of these run in one transaction: first run it at the commit before the migration that uses the value. For a local database, "npm run dev -- --reset" will do.`
        : error.message + hint;
  throw new Error(`${files}: ${reason}`, { cause: error });
}

interface Migration {
  /** The name of its file. */
  tag: string;
  /** The time by which drizzle identifies it. */
  when: number;
}

async function readJournal(directory: string): Promise<Migration[]> {
  const file = path.join(directory, 'meta/_journal.json');
  const text = await readFile(file, 'utf8');
  try {
    const { entries } = JSON.parse(text) as { entries?: Migration[] };
    if (Array.isArray(entries)) return entries;
    throw new TypeError('it has no list of entries');
  } catch (error) {
    throw new Error(`${file} is not as drizzle-kit left it: ${(error as Error).message}`, { cause: error });
  }
}

/** What the database has: the time of each migration, by which drizzle identifies it, and the hash of its file. */
async function readApplied(session: PinnedSession): Promise<Map<number, string>> {
  const { rows: found } = await session.execute<{ exists: boolean }>(
    sql`select to_regclass('drizzle.__drizzle_migrations') is not null as exists`,
  );
  if (!found[0]?.exists) return new Map();
  const { rows } = await session.execute<{ time: string; hash: string }>(
    sql`select created_at as time, hash from drizzle.__drizzle_migrations`,
  );
  return new Map(rows.map(({ time, hash }) => [Number(time), hash]));
}

async function grant(
  session: PinnedSession,
  role: string,
  directory: string,
  onWait?: (reason: string) => void,
): Promise<void> {
  const text = await readFile(path.join(directory, 'grants.sql'), 'utf8');
  const statements = text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim().replaceAll(':"app"', () => new PgDialect().escapeName(role)))
    .filter((statement) => statement !== '');
  const granting = () =>
    session.transaction(async (tx) => {
      for (const statement of statements) await tx.execute(sql.raw(statement));
    });
  await untilUnlocked(granting, onWait).catch((error: Error) => explain(error, 'grants.sql'));
}

/** Where connecting is closed to PUBLIC, a new role may not, and grants.sql cannot name the database. */
async function checkDatabase(
  session: PinnedSession,
  role: string,
  onWarning?: (message: string) => void,
): Promise<void> {
  const { rows } = await session.execute<{ name: string; owner: string }>(
    sql`select datname as name, pg_get_userbyid(datdba) as owner from pg_database
      where datname = current_database() and not has_database_privilege(${role}, oid, 'connect')`,
  );
  for (const { name, owner } of rows) {
    const [database, grantee] = [name, role].map((identifier) => new PgDialect().escapeName(identifier));
    onWarning?.(
      `"${role}" may not connect to the database. Have its owner, "${owner}", run: GRANT CONNECT ON DATABASE ${database} TO ${grantee}`,
    );
  }
}

/** For a role that does not own a schema, GRANT and REVOKE on it cause no error and have no effect. */
async function checkSchema(session: PinnedSession, role: string, onWarning?: (message: string) => void): Promise<void> {
  const { rows } = await session.execute<{ owner: string; usable: boolean; open: boolean }>(
    sql`select pg_get_userbyid(nspowner) as owner, has_schema_privilege(${role}, oid, 'usage') as usable,
      has_schema_privilege('public', oid, 'create') as open
      from pg_namespace where nspname = 'public'`,
  );
  for (const { owner, usable, open } of rows) {
    const ask = (statement: string) => `Have its owner, "${owner}", run: ${statement}`;
    const grantee = new PgDialect().escapeName(role);
    if (!usable)
      onWarning?.(`"${role}" may not use the schema public. ${ask(`GRANT USAGE ON SCHEMA public TO ${grantee}`)}`);
    if (open)
      onWarning?.(
        `Everyone may create tables in the schema public. ${ask('REVOKE CREATE ON SCHEMA public FROM PUBLIC')}`,
      );
  }
}

/** No REVOKE takes away what a role may do as a member of another, or as a superuser. */
async function checkRole(session: PinnedSession, role: string, onWarning?: (message: string) => void): Promise<void> {
  const { rows } = await session.execute<{ owner: string }>(
    sql`select current_user as owner where pg_has_role(${role}, current_user, 'member')`,
  );
  for (const { owner } of rows) {
    onWarning?.(
      `"${role}" may do all that "${owner}" may, which owns the tables. Give the application a role that is neither a superuser nor a member of "${owner}".`,
    );
  }
}

/** CREATE INDEX CONCURRENTLY leaves one behind when it fails, which CREATE INDEX IF NOT EXISTS then takes for the real one. */
async function checkIndexes(session: PinnedSession, onWarning?: (message: string) => void): Promise<void> {
  const { rows } = await session.execute<{ name: string }>(
    sql`select indexrelid::regclass::text as name from pg_index join pg_class on pg_class.oid = indexrelid
      where not indisvalid and relkind = 'i' and relnamespace = 'public'::regnamespace`,
  );
  for (const { name } of rows) {
    onWarning?.(
      `The index ${name} is not valid, and serves no query. Unless CREATE INDEX CONCURRENTLY is still at work on it, drop it and create it again.`,
    );
  }
}
