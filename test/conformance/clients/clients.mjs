import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { neon, neonConfig, Pool } from '@neondatabase/serverless';
import { PrismaNeon, PrismaNeonHttp } from '@prisma/adapter-neon';
import { Kysely, PostgresDialect, sql } from 'kysely';
import { NeonDialect } from 'kysely-neon';
import { startTemporaryStack } from '../../../local/temporary-stack.ts';
import { PrismaClient } from './generated/index.js';

let stack;
let url;

before(async () => {
  stack = await startTemporaryStack();
  url = stack.url.owner;
  // What npm run gateway prints.
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
  neonConfig.wsProxy = (host, port) => `${host}:${port}/v2`;
  neonConfig.useSecureWebSocket = false;
  neonConfig.pipelineConnect = 'password';
  await neon(url)`create table notes (
    id serial primary key, text text not null unique, tags text[] not null default '{}', data jsonb, amount numeric,
    created_at timestamp not null default now())`;
});

after(() => stack.close());

/** What both of kysely's ways to the database must do. */
async function useKysely(db) {
  await sql`truncate notes`.execute(db);
  const inserted = await db
    .insertInto('notes')
    .values([{ text: 'a', tags: ['x', 'y,"z"'], data: JSON.stringify({ n: 1 }) }, { text: 'b' }])
    .returning(['text', 'tags', 'data'])
    .execute();
  assert.deepEqual(inserted, [
    { text: 'a', tags: ['x', 'y,"z"'], data: { n: 1 } },
    { text: 'b', tags: [], data: null },
  ]);
  const updated = await db.updateTable('notes').set({ text: 'c' }).where('text', '=', 'b').executeTakeFirst();
  assert.equal(updated.numUpdatedRows, 1n);
  assert.equal((await db.deleteFrom('notes').where('text', '=', 'c').executeTakeFirst()).numDeletedRows, 1n);
  await assert.rejects(() => db.insertInto('notes').values({ text: 'a' }).execute(), { code: '23505' });
  const { now } = await db
    .selectFrom('notes')
    .select(sql`now()`.as('now'))
    .executeTakeFirstOrThrow();
  assert.ok(now instanceof Date);
}

void test('kysely’s Neon dialect, over HTTP', async () => {
  const db = new Kysely({ dialect: new NeonDialect({ neon: neon(url) }) });
  await useKysely(db);
  await db.destroy();
});

for (const route of ['direct', 'pooled']) {
  void test(`kysely on the driver’s pool, ${route}`, async () => {
    const connectionString = route === 'direct' ? url : stack.pooledUrl.owner;
    const db = new Kysely({ dialect: new PostgresDialect({ pool: new Pool({ connectionString }) }) });
    await useKysely(db);
    await assert.rejects(
      () =>
        db.transaction().execute(async (trx) => {
          await trx.insertInto('notes').values({ text: 'undone' }).execute();
          throw new Error('roll back');
        }),
      /roll back/,
    );
    assert.equal((await db.selectFrom('notes').selectAll().where('text', '=', 'undone').execute()).length, 0);
    await db.destroy();
  });

  void test(`Prisma’s Neon adapter, ${route}`, async () => {
    const adapter = new PrismaNeon({ connectionString: route === 'direct' ? url : stack.pooledUrl.owner });
    const prisma = new PrismaClient({ adapter });
    await usePrisma(prisma);
    await assert.rejects(
      () =>
        prisma.$transaction(async (tx) => {
          await tx.note.create({ data: { text: 'undone' } });
          throw new Error('roll back');
        }),
      /roll back/,
    );
    assert.equal(await prisma.note.count({ where: { text: 'undone' } }), 0);
    const level = await prisma.$transaction((tx) => tx.$queryRaw`show transaction_isolation`, {
      isolationLevel: 'Serializable',
    });
    assert.deepEqual(level, [{ transaction_isolation: 'serializable' }]);
    await prisma.$disconnect();
  });
}

void test('Prisma’s Neon adapter, over HTTP', async () => {
  const prisma = new PrismaClient({ adapter: new PrismaNeonHttp(url, {}) });
  await usePrisma(prisma, '23505'); // over HTTP the adapter passes the driver's error on as it is
  await prisma.$disconnect();
});

async function usePrisma(prisma, duplicate = 'P2002') {
  await prisma.$executeRaw`truncate notes`;
  const data = { text: 'a', tags: ['x', 'y,"z"'], data: { n: [1, null] }, amount: '12345678901234567890.5' };
  const created = await prisma.note.create({ data });
  assert.deepEqual([created.tags, created.data, created.amount.toFixed()], [data.tags, data.data, data.amount]);
  assert.ok(created.createdAt instanceof Date);
  assert.deepEqual(await prisma.note.findMany({ where: { tags: { has: 'x' } } }), [created]);
  await assert.rejects(() => prisma.note.create({ data: { text: 'a' } }), { code: duplicate });
  assert.equal((await prisma.note.updateMany({ data: { text: 'b' } })).count, 1);
}
