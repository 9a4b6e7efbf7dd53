import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

it('an upload leaves out what git ignores: the secrets in .env, for one', async () => {
  const [ignored = [], uploaded = []] = await Promise.all(
    ['.gitignore', '.vercelignore'].map(async (name) => (await readFile(path.join(ROOT, name), 'utf8')).split('\n')),
  );
  expect(uploaded).toEqual(expect.arrayContaining(ignored));
});
