import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';

const INSTALL_LOCKED = new URL('../../scripts/install-locked.ts', import.meta.url);

it('says what is installed, which may take minutes, and only when it is', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'install-locked-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const manifest = { name: 'tools', dependencies: { tool: 'file:tool' } };
  const packages = { '': manifest, tool: {}, 'node_modules/tool': { resolved: 'tool', link: true } };
  await mkdir(path.join(folder, 'tool'));
  await writeFile(path.join(folder, 'tool/package.json'), '{}');
  await writeFile(path.join(folder, 'package.json'), JSON.stringify(manifest));
  await writeFile(path.join(folder, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }));
  const script = `import { installLocked } from '${INSTALL_LOCKED.href}'; installLocked(${JSON.stringify(folder)});`;
  const install = () => promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  expect((await install()).stderr).toMatch(/^Installing what \S*install-locked-\S+ needs …\n/);
  expect((await install()).stderr).toBe('');
});
