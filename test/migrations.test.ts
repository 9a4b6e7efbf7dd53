import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { createTestDatabase } from './database.ts';

const readMeta = async <Content>(file: string): Promise<Content> =>
  JSON.parse(await readFile(new URL(`../migrations/meta/${file}`, import.meta.url), 'utf8')) as Content;

const PARTS = ['indexes', 'foreignKeys', 'compositePrimaryKeys', 'uniqueConstraints', 'checkConstraints'] as const;

// Where the expression of a generated column changes, drizzle-kit drops the column and adds it again. PostgreSQL drops its
// indexes and constraints with it; drizzle-kit takes them to be there still, and never creates them again.
it('the migrations leave every index and constraint of the schema in the database', async () => {
  const { entries } = await readMeta<{ entries: { tag: string }[] }>('_journal.json');
  const [number] = entries.at(-1)?.tag.split('_') ?? [];
  const { tables } = await readMeta<{ tables: Record<string, Record<(typeof PARTS)[number], object>> }>(
    `${number}_snapshot.json`,
  );
  const names = Object.values(tables).flatMap((table) => PARTS.flatMap((part) => Object.keys(table[part])));
  const database = await createTestDatabase();
  // As type `name`, which cuts them off where PostgreSQL does.
  const missing = await database.query(
    `select name from unnest($1::name[]) as name
      where name not in (select conname from pg_constraint union all select relname from pg_class where relkind in ('i', 'I'))`,
    [names],
  );
  await database.close();
  expect(missing).toEqual([]);
});
