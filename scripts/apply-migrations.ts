import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/neon-serverless/migrator';
import { PgDialect } from 'drizzle-orm/pg-core';
import { parseConnectionString } from '../src/db/connection-string.ts';
import { createDatabase, type PinnedSession } from '../src/db/database.ts';
import { neonWebSocket } from '../src/db/websocket.ts';

const MIGRATIONS = new URL('../migrations/', import.meta.url);

export interface MigrationsResult {
  /** How many were new. */
  applied: number;
  /** The role that was granted what migrations/grants.sql says. */
  role: string;
}

/**
 * Brings a database up to date and grants the application's role. Holds a lock meanwhile: of two at once, one waits.
 * @param ownerUrl the role that owns the tables, on a direct connection
 * @param appUrl names the application's role
 */
export async function applyMigrations(ownerUrl: string, appUrl: string): Promise<MigrationsResult> {
  const { role } = parseConnectionString(appUrl);
  if (role === parseConnectionString(ownerUrl).role) {
    throw new Error(
      `DATABASE_URL and DATABASE_OWNER_URL name the same role, "${role}". Make a second one for the application, which may change rows but not tables.`,
    );
  }
  const database = createDatabase({
    url: ownerUrl,
    schema: {},
    transports: { websocket: neonWebSocket() },
    sockets: 'instance',
    onWarning() {}, // it speaks of the application's role; this is the owner's
  });
  try {
    return await database.session(async (session) => {
      await session.execute(sql`select pg_advisory_lock(hashtextextended('migrations', 0))`);
      const before = await countApplied(session);
      // drizzle's migrator takes any of its databases; its type names one of them.
      await migrate(session as never, { migrationsFolder: fileURLToPath(MIGRATIONS) });
      const applied = (await countApplied(session)) - before;
      await grant(session, role);
      return { applied, role };
    });
  } finally {
    await database.close();
  }
}

async function countApplied(session: PinnedSession): Promise<number> {
  const { rows } = await session.execute<{ exists: boolean }>(
    sql`select to_regclass('drizzle.__drizzle_migrations') is not null as exists`,
  );
  if (!rows[0]?.exists) return 0;
  return session.$count(sql`drizzle.__drizzle_migrations`);
}

async function grant(session: PinnedSession, role: string): Promise<void> {
  const text = await readFile(new URL('grants.sql', MIGRATIONS), 'utf8');
  const statements = text
    .replaceAll(/--.*$/gm, '')
    .replaceAll(':"app"', new PgDialect().escapeName(role))
    .split(';')
    .filter((statement) => statement.trim() !== '');
  await session.transaction(async (tx) => {
    for (const statement of statements) await tx.execute(sql.raw(statement));
  });
}
