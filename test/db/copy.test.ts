import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageFolder } from '../../scripts/package-folder.ts';
import type * as errors from '../../src/db/error.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/** What a project that copies `src/db/` has to install. */
const PACKAGES = ['drizzle-orm', '@neondatabase/serverless', 'pg', '@types/pg'];

/** Of these, `@types/pg` needs Node's types itself. */
const TYPES_OF_TYPES = ['@types/node', 'undici-types', 'pg-types', 'pg-protocol'];

/** What it has to set, and the least that it can. */
const LOOSE = {
  target: 'ES2022',
  lib: ['ES2024', 'DOM'],
  module: 'NodeNext',
  strict: false,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  noEmit: true,
  types: [],
};

const STRICT = {
  ...LOOSE,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
};

const TSCONFIGS = {
  strictly: STRICT,
  'without strict, as Next.js sets it': LOOSE,
  "with Node's types and no DOM": { ...STRICT, lib: ['ES2024'], types: ['node'] },
  "with declarations, by Node's types": { ...STRICT, lib: ['ES2024'], types: ['node'], declaration: true },
};

const PROGRAM = `
import { sql } from 'drizzle-orm';
import { integer, pgTable } from 'drizzle-orm/pg-core';
import { createDatabase, type Queryable } from './db/database.ts';
import { neonHttp } from './db/http.ts';
import { neonWebSocket } from './db/websocket.ts';

declare const process: { argv: string[] };
const numbers = pgTable('numbers', { n: integer('n').notNull() });
const schema = { numbers };

const database = createDatabase({
  url: process.argv[2] ?? '',
  schema,
  transports: { http: neonHttp(), websocket: neonWebSocket() },
  sockets: 'instance',
});
const all = (db: Queryable<typeof schema>): Promise<{ n: number }[]> => db.select().from(numbers);
export const clear = (db: Queryable<typeof schema>) => db.delete(numbers);

const transports = new Set<string>();
const db = database.forRequest({ onQuery: (event) => transports.add(event.operation + ' over ' + event.transport) });
await db.insert(numbers).values({ n: 1 });
await db.batch([db.insert(numbers).values({ n: 2 }), db.execute(sql\`select 1\`)]);
const inside = await db.transaction(async (tx) => {
  await tx.insert(numbers).values({ n: 3 });
  return all(tx);
});
console.log(JSON.stringify({ inside, outside: await all(db), transports: [...transports] }));
await database.close();
`;

let project: string;
let test: TestDatabase;

beforeAll(async () => {
  test = await createEmptyDatabase();
  project = await mkdtemp(path.join(tmpdir(), 'src-db-copy-'));
  for (const name of [...PACKAGES, ...TYPES_OF_TYPES]) {
    const link = path.join(project, 'node_modules', name);
    await mkdir(path.dirname(link), { recursive: true });
    await symlink(packageFolder(name), link, 'junction');
  }
  await cp(path.join(ROOT, 'src/db'), path.join(project, 'db'), { recursive: true });
  await writeFile(path.join(project, 'package.json'), JSON.stringify({ type: 'module' }));
  await writeFile(path.join(project, 'program.ts'), PROGRAM);
});

afterAll(async () => {
  await test.close();
  await rm(project, { recursive: true, force: true });
});

it.each(Object.entries(TSCONFIGS))(
  'src/db, copied into an empty project, type-checks %s',
  { timeout: 30_000 },
  async (_, compilerOptions) => {
    await writeFile(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
    const tsc = path.join(packageFolder('typescript'), 'bin/tsc');
    const { stdout } = await run(process.execPath, [tsc, '-p', project]).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  },
);

it('src/db, copied into an empty project, works', async () => {
  await test.query('create table numbers (n int not null)');
  await test.query('grant all on numbers to app');
  const { stdout } = await run(process.execPath, ['program.ts', test.url], { cwd: project });
  expect(JSON.parse(stdout)).toEqual({
    inside: [{ n: 1 }, { n: 2 }, { n: 3 }],
    outside: [{ n: 1 }, { n: 2 }, { n: 3 }],
    transports: ['one-shot over http', 'batch over http', 'transaction over websocket'],
  });
});

it('a DatabaseError is known by its name to another, minified copy of src/db, which it is no instance of', async () => {
  const load = async (copy: string) => {
    const outfile = path.join(project, `${copy}.mjs`);
    const entry = path.join(project, 'db/error.ts');
    await build({ entryPoints: [entry], outfile, bundle: true, minify: true, format: 'esm', platform: 'node' });
    return (await import(pathToFileURL(outfile).href)) as typeof errors;
  };
  const [pages, instrumentation] = [await load('pages'), await load('instrumentation')];
  const error = pages.misuse('Wrong.');
  expect(error).not.toBeInstanceOf(instrumentation.DatabaseError);
  expect(error).toMatchObject({ name: 'DatabaseError', kind: 'query' });
  expect(pages.DatabaseError.name).not.toBe('DatabaseError'); // so `name` does not come from the class
});
