import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What `src/db` with `fast/` may add to Hono, drizzle and the driver, in bytes, minified and compressed. */
export const BUDGET = 8_000;

const HONO = `import { Hono } from 'hono';
const app = new Hono();
export default app;`;

const database = (imports: string, options: string) => `${HONO}
import { createDatabase } from './src/db/database.ts';
import { neonHttp } from './src/db/http.ts';
import { neonWebSocket } from './src/db/websocket.ts';
${imports}
const transports = { http: neonHttp(), websocket: neonWebSocket(${options}) };
const database = createDatabase({ url: '', schema: {}, transports, sockets: 'request' });
app.get('/', async (c) => c.json(await database.forRequest({}).execute('')));`;

/** The source code of the apps. */
const APPS = {
  hono: HONO,
  baseline: `${HONO}
import { neon, Pool } from '@neondatabase/serverless';
import { drizzle as http } from 'drizzle-orm/neon-http';
import { drizzle as webSocket } from 'drizzle-orm/neon-serverless';
app.get('/', async (c) => c.json([await http(neon('')).execute(''), await webSocket(new Pool()).execute('')]));`,
  database: database('', ''),
  databaseWithFast: database(`import { fastClient } from './src/db/fast/client.ts';`, '{ Client: fastClient() }'),
};

export type Sizes = Record<keyof typeof APPS, number>;

/** @returns the bytes of each app's bundle, minified and compressed */
export async function measureSizes(): Promise<Sizes> {
  const sizes = Object.entries(APPS).map(async ([name, source]) => [name, await bundleSize(source)]);
  return Object.fromEntries(await Promise.all(sizes)) as Sizes;
}

async function bundleSize(contents: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    // As for an edge runtime, where size counts most.
    target: 'es2024',
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
  });
  return outputFiles.reduce((sum, file) => sum + gzipSync(file.contents).length, 0);
}

export const SIZE_HELP = `Prints what src/db adds to an app that has Hono, drizzle and the driver. Fails when that is over its budget.

Usage: npm run size
`;

/** @throws {Error} with the table when the budget is exceeded */
export async function sizeTable(): Promise<string> {
  const { hono, baseline, database: db, databaseWithFast } = await measureSizes();
  const rows = [
    ['Hono', hono],
    ['Hono + drizzle (neon-http, neon-serverless) + driver', baseline],
    ['Hono + src/db', db],
    ['Hono + src/db + fast', databaseWithFast],
    ['src/db with fast, compared with the second line', databaseWithFast - baseline],
    ['its budget', BUDGET],
  ] as const;
  const table = rows
    .map(([what, bytes]) => `${what.padEnd(53)}${(bytes / 1000).toFixed(1).padStart(6)} kB gzip`)
    .join('\n');
  if (databaseWithFast - baseline > BUDGET) throw new Error(`${table}\nsrc/db is over its budget.`);
  return table;
}

if (import.meta.main) await runCommand(SIZE_HELP, {}, sizeTable);
