import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const FAST_IMPORTS = new URL('../../src/fast-imports.ts', import.meta.url).href;

/** Counts, and lists, what Node itself is asked to find. */
const COUNT = `data:text/javascript,${encodeURIComponent(`
import { registerHooks } from 'node:module';
globalThis.asked = [];
registerHooks({ resolve: (specifier, context, next) => (asked.push(specifier), next(specifier, context)) });`)}`;

const PROGRAM = `
import * as core from 'drizzle-orm/pg-core';
import * as migrator from 'drizzle-orm/migrator';
console.log(JSON.stringify({ asked, names: Object.keys({ ...core, ...migrator }) }));`;

async function run(...flags: string[]) {
  const args = ['--import', COUNT, ...flags, '--input-type=module', '--eval', PROGRAM];
  const cwd = fileURLToPath(new URL('../../', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, env: {} });
  return JSON.parse(stdout) as { asked: string[]; names: string[] };
}

it('finds all of drizzle’s modules without asking Node, but for those that others name', async () => {
  const [slow, fast] = await Promise.all([run(), run('--import', FAST_IMPORTS)]);
  expect(fast.names).toEqual(slow.names);
  const isOwn = (specifier: string) => /^\.\.?\//.test(specifier);
  expect(slow.asked.filter(isOwn).length).toBeGreaterThan(100);
  expect(fast.asked.filter(isOwn)).toEqual([]);
  expect(fast.asked).toEqual(expect.arrayContaining(slow.asked.filter((specifier) => !isOwn(specifier))));
});
