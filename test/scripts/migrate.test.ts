import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { startListening } from '../../local/start-listening.ts';
import { applyMigrations } from '../../scripts/apply-migrations.ts';
import { describeError } from '../../scripts/describe-error.ts';
import { createEmptyDatabase, PATIENCE, type TestDatabase } from '../database.ts';

let database: TestDatabase;
let directory: string;
beforeEach(async () => {
  database = await createEmptyDatabase();
  directory = await mkdtemp(path.join(tmpdir(), 'migrate-test-'));
});
afterEach(async () => {
  await database.close();
  await rm(directory, { recursive: true, force: true });
});

/** Writes migrations as drizzle-kit does; the time of each is its place in the list, unless it says another. */
async function writeMigrations(...migrations: (string | { sql: string; when: number })[]): Promise<void> {
  await mkdir(path.join(directory, 'meta'), { recursive: true });
  const entries = migrations.map((migration, idx) => ({
    idx,
    version: '7',
    when: typeof migration === 'string' ? idx + 1 : migration.when,
    tag: `000${idx}`,
    breakpoints: true,
  }));
  for (const [i, migration] of migrations.entries()) {
    await writeFile(path.join(directory, `000${i}.sql`), typeof migration === 'string' ? migration : migration.sql);
  }
  await writeFile(path.join(directory, 'meta/_journal.json'), JSON.stringify({ dialect: 'postgresql', entries }));
  await writeFile(path.join(directory, 'grants.sql'), 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"app";');
}

const apply = (options: Parameters<typeof applyMigrations>[2] = {}) =>
  applyMigrations(database.ownerUrl, database.url, { directory, ...options });

/** A URL that leads to PostgreSQL itself. */
const overTcp = (url: string) => {
  const changed = new URL(url);
  changed.port = String(inject('stack').postgresPort);
  return changed.href;
};

const tables = async () =>
  (
    await database.query<{
      name: string;
    }>(`select relname as name from pg_class c join pg_namespace n on n.oid = relnamespace
    where relkind = 'r' and nspname = 'public' order by 1`)
  ).map(({ name }) => name);

/** Everything that a migration or a grant could change, in one value. */
const catalog = () =>
  database.query(`select (select jsonb_agg(jsonb_build_array(oid, relname, relacl::text) order by oid) from pg_class where oid > 16383) as relations,
    (select jsonb_agg(defaclacl::text order by oid) from pg_default_acl) as defaults,
    (select jsonb_agg(nspacl::text order by oid) from pg_namespace) as schemas,
    (select count(*) from drizzle.__drizzle_migrations) as migrations`);

/** Runs what `npm run db:migrate` runs. */
function start(env: Record<string, string> = {}) {
  const script = fileURLToPath(new URL('../../scripts/migrate.ts', import.meta.url));
  const child = spawn(process.execPath, [script], {
    cwd: directory, // where there is no .env
    env: { DATABASE_URL: database.url, DATABASE_OWNER_URL: database.ownerUrl, NO_COLOR: '1', ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  return { child, exited: once(child, 'close'), output: () => output };
}

describe('npm run db:migrate', () => {
  it.each(['neon', 'tcp'])('applies everything over %s, and changes nothing the second time', async (transport) => {
    const migrate = async () => {
      const urls = { DATABASE_URL: overTcp(database.url), DATABASE_OWNER_URL: overTcp(database.ownerUrl) };
      const { exited, output } = start(transport === 'tcp' ? { DATABASE_TRANSPORT: transport, ...urls } : {});
      expect(await exited, output()).toEqual([0, null]);
      return output();
    };
    expect(await migrate()).toMatch(/Applied \d; granted "app"/);
    expect(await tables()).not.toEqual([]);
    const before = await catalog();
    expect(await migrate()).toMatch(/Nothing new; granted "app"/);
    expect(await catalog()).toEqual(before);
  });

  it.each(['DATABASE_URL', 'DATABASE_OWNER_URL'])('names %s when that is no URL', async (name) => {
    const { exited, output } = start({ [name]: 'foo' });
    expect(await exited).toEqual([1, null]);
    expect(output()).toBe(`${name}: Bad connection string: unset, or no postgresql:// URL: percent-encode @ / # ? %\n`);
  });

  it.each([
    ['DATABASE_URL', 'DATABASE_OWNER_URL'],
    ['DATABASE_OWNER_URL', 'DATABASE_URL'],
  ])('says that %s alone is not enough, and that a running npm run dev does not count then', async (set, missing) => {
    const { exited, output } = start({ [missing]: '' });
    expect(await exited).toEqual([1, null]);
    expect(output()).toBe(
      `${set} is set, ${missing} is not: set both, or neither for the database of "npm run dev".\n`,
    );
  });

  it('lets one of two at once wait for the other: both succeed', async () => {
    const both: ReturnType<typeof start>[] = [];
    await database.whileLocked('migrations', async () => {
      both.push(start(), start());
      const output = () => both.map((one) => one.output()).join('');
      await vi.waitFor(() => expect(output().match(/Another migration is running/g)).toHaveLength(2), PATIENCE);
      expect(await tables()).toEqual([]);
    });
    for (const { exited, output } of both) expect(await exited, output()).toEqual([0, null]);
    const results = both.map(({ output }) => /Applied|Nothing new/.exec(output())?.[0]);
    expect(new Set(results)).toEqual(new Set(['Applied', 'Nothing new']));
  });

  it('says that it waits for a database that does not answer', async () => {
    const silent = createServer();
    const url = `postgresql://app_owner:x@127.0.0.1:${await startListening(silent)}/app`;
    const { child, exited, output } = start({ DATABASE_OWNER_URL: url });
    await vi.waitFor(() => expect(output()).toContain('has not answered yet: waiting for it …'), PATIENCE);
    child.kill();
    await exited;
    silent.close();
  });

  it('says in one line what is wrong with the environment, without a password', async () => {
    const { exited, output } = start({ DATABASE_TRANSPORT: 'carrier-pigeon' });
    expect(await exited).toEqual([1, null]);
    expect(output()).toBe('DATABASE_TRANSPORT must be neon or tcp.\n');
  });
});

describe('migrations', () => {
  // The gateway stops what the killed one has begun; PostgreSQL itself has to notice, which it cannot on Windows.
  const ways = process.platform === 'win32' ? ['neon'] : ['neon', 'tcp'];
  it.each(ways)('leave nothing behind when the command is killed half way over %s: the next succeeds', async (way) => {
    await writeMigrations(`create table half (id int); --> statement-breakpoint
      select pg_sleep(600)`);
    const worker = fileURLToPath(new URL('../../scripts/apply-migrations.ts', import.meta.url));
    const fastImports = new URL('../../src/fast-imports.ts', import.meta.url).href;
    const urls = [database.ownerUrl, database.url].map((url) => (way === 'tcp' ? overTcp(url) : url));
    const code = `import { applyMigrations } from ${JSON.stringify(pathToFileURL(worker))};
      await applyMigrations(...${JSON.stringify([...urls, { directory, transport: way }])});`;
    const child = spawn(process.execPath, ['--import', fastImports, '--input-type=module', '--eval', code]);
    await database.untilSleeping();
    child.kill('SIGKILL');
    await once(child, 'exit');
    await writeMigrations('create table whole (id int)');
    expect(await apply()).toEqual({ applied: 1, role: 'app' });
    expect(await tables()).toEqual(['whole']);
  });

  it('leave nothing behind when one of them fails, and the next run succeeds', async () => {
    await writeMigrations('create table a (id int)', 'create table b (id int); --> statement-breakpoint\nselect 1 / 0');
    const begun: number[] = [];
    const onApply = (count: number) => begun.push(count);
    await expect(apply({ onApply })).rejects.toThrow('0000.sql to 0001.sql: division by zero');
    expect(begun).toEqual([2]);
    expect(await tables()).toEqual([]);
    await writeMigrations('create table a (id int)', 'create table b (id int)');
    expect(await apply()).toEqual({ applied: 2, role: 'app' });
    expect(await tables()).toEqual(['a', 'b']);
    await writeMigrations('create table a (id int)', 'create table b (id int)', 'create table a (id int)');
    await expect(apply()).rejects.toThrow('0002.sql: relation "a" already exists');
  });

  it('say what is missing between two statements', async () => {
    await writeMigrations('create table a (id int);\ncreate table b (id int);');
    await expect(apply()).rejects.toThrow(/^0000\.sql: .* "--> statement-breakpoint"/);
    expect(await tables()).toEqual([]);
  });

  it('pass on what PostgreSQL advises', async () => {
    await writeMigrations('create table a (n text)', 'alter table a alter n type int');
    const error: unknown = await apply().catch((reason: unknown) => reason);
    expect(describeError(error)).toBe(
      '0000.sql to 0001.sql: column "n" cannot be cast automatically to type integer\nHint: You might need to specify "USING n::integer".',
    );
  });

  it('say how to apply one that uses a value which another adds to an enum', async () => {
    const before = `create type mood as enum ('good')`;
    const both = [`alter type mood add value 'bad'`, `create table a (mood mood default 'bad')`];
    await writeMigrations(before);
    await apply();
    await writeMigrations(before, ...both);
    await expect(apply()).rejects.toThrow(
      /^0001\.sql to 0002\.sql: unsafe use of new value .* at the commit before the migration that uses the value\./,
    );
    await writeMigrations(before, ...both.slice(0, 1));
    await apply();
    await writeMigrations(before, ...both);
    expect(await apply()).toMatchObject({ applied: 1 });
  });

  it('are refused when one begins with nothing but a comment: its statement may be in that', async () => {
    const second = '--> statement-breakpoint\ncreate table c (id int);\n';
    for (const more of ['', second]) {
      await writeMigrations('create table a (id int)', `-- put your code below! --create table b (id int);\n${more}`);
      await expect(apply()).rejects.toThrow('0001.sql begins with a comment alone');
    }
    await writeMigrations('create table a (id int)', '-- put your code below! --\ncreate table b (id int);\n');
    expect(await apply()).toMatchObject({ applied: 2 });
  });

  it('name the file that is missing, and the journal where a merge has left its marks', async () => {
    await writeMigrations('create table a (id int)');
    await apply();
    await writeMigrations('create table a (id int)', 'create table b (id int)');
    await rm(path.join(directory, '0000.sql'));
    await expect(apply()).rejects.toThrow(/^No file .*0000\.sql found/);
    await writeFile(path.join(directory, 'meta/_journal.json'), '<<<<<<< HEAD\n{}');
    await expect(apply()).rejects.toThrow(/_journal\.json .* Unexpected token '<'/);
    await writeFile(path.join(directory, 'meta/_journal.json'), '{}');
    await expect(apply()).rejects.toThrow(/_journal\.json .* no list of entries/);
  });

  it('tell of a file that has changed since it was applied, and name one that is missing, also where nothing is new', async () => {
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    await writeMigrations('create table a (id int)', 'create table b (id int)');
    await apply({ onWarning });
    await apply({ onWarning });
    expect(warnings).toEqual([]);
    await writeMigrations('create table a (id int, name text)', 'create table b (id int)');
    expect(await apply({ onWarning })).toEqual({ applied: 0, role: 'app' });
    expect(warnings).toEqual([expect.stringMatching(/^0000\.sql has changed/)]);
    await rm(path.join(directory, '0000.sql'));
    await expect(apply()).rejects.toThrow(/^No file .*0000\.sql found/);
  });

  it('apply what is new and grant the tables of it', async () => {
    await writeMigrations('create table a (id int)');
    await apply();
    await writeMigrations('create table a (id int)', 'create table b (id int)');
    expect(await apply()).toEqual({ applied: 1, role: 'app' });
    const [granted] = await database.query(`select has_table_privilege('app', 'b', 'select') as yes`);
    expect(granted).toEqual({ yes: true });
  });

  it('do not stand in front of everybody else for longer than three seconds', async () => {
    await writeMigrations(`create table seen as select current_setting('lock_timeout') as timeout`);
    await apply();
    expect(await database.query('select timeout from seen')).toEqual([{ timeout: '3s' }]);
  });

  it('let the others pass when they do not get a lock, and try again, up to five times', async () => {
    await writeMigrations(`set local lock_timeout = '50ms'; --> statement-breakpoint
      select pg_advisory_xact_lock(hashtextextended('a table', 0))`);
    const waits: string[] = [];
    await database.whileLocked('a table', () =>
      expect(apply({ onWait: (reason) => waits.push(reason) })).rejects.toThrow(
        /^0000\.sql: .* lock timeout\. It has not been applied: run it again\./,
      ),
    );
    expect(waits).toEqual(Array(4).fill('Others hold a lock that it needs: trying again'));

    const waiting = Promise.withResolvers<void>();
    let applying: ReturnType<typeof apply> | undefined;
    await database.whileLocked('a table', () => {
      applying = apply({ onWait: () => waiting.resolve() });
      return waiting.promise;
    });
    expect(await applying).toEqual({ applied: 1, role: 'app' });
  });

  it('let them pass for the grants, too', async () => {
    await writeMigrations('create table a (id int)');
    const grants = `SET LOCAL lock_timeout = '50ms'; SELECT pg_advisory_xact_lock(hashtextextended('a table', 0));`;
    await writeFile(path.join(directory, 'grants.sql'), grants);
    const waiting = Promise.withResolvers<void>();
    let applying: ReturnType<typeof apply> | undefined;
    await database.whileLocked('a table', () => {
      applying = apply({ onWait: () => waiting.resolve() });
      return Promise.race([applying, waiting.promise]);
    });
    expect(await applying).toEqual({ applied: 1, role: 'app' });
  });

  it('warn of nothing that the grants have put right', async () => {
    await database.query('revoke all on schema public from public');
    const warnings: string[] = [];
    await applyMigrations(database.ownerUrl, database.url, { onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([]);
  });

  it('warn about an index that could not be built, and is there nevertheless', async () => {
    await writeMigrations('create table a (id int); --> statement-breakpoint\ninsert into a values (1), (1)');
    await apply();
    await expect(database.query('create unique index concurrently a_id on a (id)')).rejects.toThrow('a_id');
    await writeMigrations('create table a (id int)', 'create unique index if not exists a_id on a (id)');
    const warnings: string[] = [];
    await apply({ onWarning: (message) => warnings.push(message) });
    expect(warnings).toContainEqual(expect.stringMatching(/^The index a_id is not valid/));
  });

  it('are refused when one is older than the last that was applied: drizzle would pass over it', async () => {
    const create = (name: string, when: number) => ({ sql: `create table ${name} (id int)`, when });
    const [a, b, c] = [create('a', 1), create('b', 2), create('c', 3)];
    await writeMigrations(a, c);
    await apply();
    await writeMigrations(a, b, c);
    await expect(apply()).rejects.toThrow('A migration is older than the last');
    await writeMigrations(a, b); // as on another branch
    await expect(apply()).rejects.toThrow('The database has migrations that are not in migrations/');
  });

  it('say that the database is ahead of the files when one meets what another branch has left', async () => {
    await writeMigrations({ sql: 'create table a (id int)', when: 1 });
    await apply();
    await writeMigrations({ sql: 'create table a (id int)', when: 2 });
    await expect(apply()).rejects.toThrow(
      /^0000\.sql: relation "a" already exists\. The database has migrations that are not in migrations\/\./,
    );
  });

  it('are refused when one is not in the journal: drizzle would not know it', async () => {
    await writeMigrations('create table a (id int)');
    await writeFile(path.join(directory, '0000_a.down.sql'), 'drop table a');
    expect(await apply()).toMatchObject({ applied: 1 });
    await writeFile(path.join(directory, '0001_b.sql'), 'create table b (id int)');
    await expect(apply()).rejects.toThrow('0001_b.sql is not in meta/_journal.json');
  });

  it('name the file of the grants when a statement there fails, and then grant nothing', async () => {
    await writeMigrations('create table a (id int)');
    const grants = 'GRANT SELECT ON a TO :"app"; GRANT SELECT ON b TO :"app";';
    await writeFile(path.join(directory, 'grants.sql'), grants);
    await expect(apply()).rejects.toThrow('grants.sql: relation "b" does not exist');
    const [granted] = await database.query(`select has_table_privilege('app', 'a', 'select') as yes`);
    expect(granted).toEqual({ yes: false });
  });

  it.each(['pay$$role', 'pay$&role', 'pay;role'])('grant to the role %s', async (role) => {
    await writeMigrations('create table a (id int)');
    await database.query(`create role "${role}"`);
    const url = new URL(database.url);
    url.username = encodeURIComponent(role);
    await applyMigrations(database.ownerUrl, url.href, { directory });
    expect(await database.query(`select has_table_privilege('${role}', 'a', 'select') as yes`)).toEqual([
      { yes: true },
    ]);
    await database.query(`drop owned by "${role}"; drop role "${role}"`);
  });

  it('say which role is missing, and grant it when it is there', async () => {
    await writeMigrations('create table a (id int)');
    const stranger = new URL(database.url);
    stranger.username = 'stranger';
    const applied = applyMigrations(database.ownerUrl, stranger.href, { directory });
    await expect(applied).rejects.toThrow('role "stranger" does not exist');
    expect(await apply()).toEqual({ applied: 0, role: 'app' });
    const [granted] = await database.query(`select has_table_privilege('app', 'a', 'select') as yes`);
    expect(granted).toEqual({ yes: true });
  });

  it.each(['role', 'database'])('make tables in public, whatever the search path of the %s', async (what) => {
    const name = new URL(database.url).pathname.slice(1);
    const whose = what === 'role' ? `role app_owner in database ${name}` : `database ${name}`;
    await database.query(`create schema other authorization app_owner; alter ${whose} set search_path = other`);
    await applyMigrations(database.ownerUrl, database.url);
    expect(await tables()).not.toEqual([]);
  });

  it('may take an hour for a statement, whatever the limit of the database', async () => {
    await database.query(`alter database ${new URL(database.url).pathname.slice(1)} set statement_timeout = '10s'`);
    await writeMigrations(`create table a as select current_setting('statement_timeout') as "limit"`);
    await apply();
    expect(await database.query('select * from a')).toEqual([{ limit: '1h' }]);
  });

  it('find what else is on the search path, such as the types of an extension in a schema of its own', async () => {
    const name = new URL(database.url).pathname.slice(1);
    await database.query(`create schema other authorization app_owner; create domain other.mail as text;
      alter database ${name} set search_path = public, other`);
    await writeMigrations('create table a (address mail)');
    expect(await apply()).toEqual({ applied: 1, role: 'app' });
  });

  it.each([
    ['revoke all on schema public from public; grant all on schema public to app_owner', /GRANT USAGE .* TO "app"$/],
    ['grant all on schema public to public', /REVOKE CREATE .* FROM PUBLIC$/],
  ])('tell what the owner of the schema has to do, who has done this: %s', async (given, warning) => {
    await database.query(`alter schema public owner to postgres; ${given}`);
    const { exited, output } = start();
    expect(await exited, output()).toEqual([0, null]);
    const warnings = output()
      .split('\n')
      .filter((line) => line.startsWith('Warning: '));
    expect(warnings).toEqual([expect.stringMatching(warning)]);
  });

  it('tell of a role that may not connect, as a new one where that is closed to PUBLIC', async () => {
    await writeMigrations('create table a (id int)');
    const name = new URL(database.url).pathname.slice(1);
    await database.query('create role "new-role"'); // the database of a test is closed to PUBLIC
    const url = new URL(database.url);
    url.username = 'new-role';
    const warnings: string[] = [];
    const migrate = () =>
      applyMigrations(database.ownerUrl, url.href, { directory, onWarning: (message) => warnings.push(message) });
    await migrate();
    const advice = warnings.map((warning) => /run: (GRANT CONNECT ON DATABASE .*)$/.exec(warning)?.[1]);
    expect(advice).toEqual([`GRANT CONNECT ON DATABASE "${name}" TO "new-role"`]);
    await database.query(advice.join());
    await migrate();
    await database.query('drop owned by "new-role"; drop role "new-role"');
    expect(warnings).toHaveLength(1);
  });

  it.each(['in role app_owner', 'noinherit in role app_owner', 'superuser'])(
    'warn of a role for the application that could change tables: %s',
    async (attribute) => {
      await writeMigrations('create table a (id int)');
      const name = new URL(database.url).pathname.slice(1);
      await database.query(`create role "powerful" ${attribute}; grant connect on database ${name} to "powerful"`);
      const url = new URL(database.url);
      url.username = 'powerful';
      const warnings: string[] = [];
      const onWarning = (message: string) => warnings.push(message);
      await applyMigrations(database.ownerUrl, url.href, { directory, onWarning });
      await apply({ onWarning });
      await database.query('drop owned by "powerful"; drop role "powerful"');
      expect(warnings).toEqual([expect.stringContaining('"powerful" may do all that "app_owner" may')]);
    },
  );

  it.each([
    ['the same role', 'postgresql://app:x@127.0.0.1:1/app', /name the same role, "app"/],
    ['a named PgBouncer', 'postgresql://owner.main%7Cbouncer:x@eu.pg.psdb.cloud:6432/postgres', /use port 5432/],
  ])('are not begun as %s', async (_, ownerUrl, message) => {
    await expect(applyMigrations(ownerUrl, 'postgresql://app:x@127.0.0.1:1/app')).rejects.toThrow(message);
  });
});
