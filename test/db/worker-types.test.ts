import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { packageFolder } from '../../scripts/package-folder.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

const QUIET = { WRANGLER_WRITE_LOGS: 'false', WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true' };

it("src/db type-checks with wrangler's types and no DOM, as a new project on Workers has it", async () => {
  const project = await mkdtemp(path.join(tmpdir(), 'src-db-types-'));
  onTestFinished(() => rm(project, { recursive: true, force: true }));
  const types = path.join(project, 'worker-configuration.d.ts');
  const wrangler = path.join(packageFolder('wrangler'), 'bin/wrangler.js');
  await run(process.execPath, [wrangler, 'types', types, '--include-env=false'], {
    cwd: ROOT,
    env: { ...process.env, ...QUIET },
  });
  const tsconfig = {
    extends: path.join(ROOT, 'tsconfig.json'),
    compilerOptions: { lib: ['ES2024'], types: [types] },
    include: [path.join(ROOT, 'src/db')],
    // Its own types bring those of Node.
    exclude: [path.join(ROOT, 'src/db/tcp.ts')],
  };
  await writeFile(path.join(project, 'tsconfig.json'), JSON.stringify(tsconfig));
  const tsc = path.join(packageFolder('typescript'), 'bin/tsc');
  const { stdout } = await run(process.execPath, [tsc, '-p', project]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe('');
}, 120_000);
