import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Vercel looks for these before it looks at `main`. */
const TAKEN = /^(app|index|server|main)\.[cm]?[jt]s$/;

it.each(['.', 'src'])('has no file in %s that Vercel would take for the app', async (folder) => {
  const files = await readdir(path.join(ROOT, folder));
  expect(files.filter((file) => TAKEN.test(file))).toEqual([]);
});

it('is named by package.json, and imports from hono', async () => {
  const { main } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as { main: string };
  expect(main).toBe('functions/vercel.ts');
  expect(await readFile(path.join(ROOT, main), 'utf8')).toMatch(/from 'hono'/);
});

it('does not have what git ignores uploaded: the secrets in .env, for one', async () => {
  const [ignored = [], uploaded = []] = await Promise.all(
    ['.gitignore', '.vercelignore'].map(async (name) => (await readFile(path.join(ROOT, name), 'utf8')).split('\n')),
  );
  expect(uploaded).toEqual(expect.arrayContaining(ignored));
});
