import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { packageFolder } from '../../scripts/package-folder.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

it('the format of what "wrangler types" and "vitest --coverage" write is not checked', async () => {
  const project = await mkdtemp(path.join(tmpdir(), 'format-'));
  onTestFinished(() => rm(project, { recursive: true }));
  for (const name of ['.oxfmtrc.json', '.gitignore']) await copyFile(path.join(ROOT, name), path.join(project, name));
  const paths = ['worker-configuration.d.ts', 'coverage/sorter.js', 'src/page.ts'];
  for (const name of paths) {
    await mkdir(path.dirname(path.join(project, name)), { recursive: true });
    await writeFile(path.join(project, name), 'export  const x = 1');
  }
  const oxfmt = path.join(packageFolder('oxfmt'), 'bin/oxfmt');
  execFileSync('git', ['init', '--quiet'], { cwd: project });
  const args = [oxfmt, '--list-different'];
  expect(() => execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8', stdio: 'pipe' })).toThrow(
    expect.objectContaining({ stdout: 'src/page.ts\n' }) as Error,
  );
});
