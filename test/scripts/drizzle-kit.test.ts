import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { packageFolder } from '../../scripts/package-folder.ts';

const kit = path.join(packageFolder('drizzle-kit'), 'bin.cjs');
const cwd = fileURLToPath(new URL('../../', import.meta.url));

it.each(['migrate', 'push'])('drizzle-kit %s says what to run instead', async (command) => {
  await expect(promisify(execFile)(process.execPath, [kit, command], { cwd })).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('"npm run db:migrate"') as string,
  });
});
