import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';

/** Runs what `npm run deploy:lambda` runs, with this script, if any, in the place of SAM. */
function deploy(sam: string | undefined, ...args: string[]) {
  const directory = mkdtempSync(path.join(tmpdir(), 'sam-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  if (sam) writeFileSync(path.join(directory, 'sam'), `#!/bin/bash\n${sam}\n`, { mode: 0o755 });
  const script = fileURLToPath(new URL('../../scripts/deploy-lambda.ts', import.meta.url));
  const env = { ...process.env, PATH: directory, NO_COLOR: '1' };
  return spawnSync(process.execPath, [script, ...args], { env, encoding: 'utf8' });
}

it.skipIf(process.platform === 'win32')('deploys what it has built, with the options that it was given', () => {
  const { status, stdout } = deploy('echo "sam $@ in ${PWD##*/}"', '--config-env', 'staging');
  expect(stdout).toMatch(
    /^dist\/lambda\.zip: .*\nsam deploy --template-file template\.yaml --config-env staging in functions\n/,
  );
  expect(status).toBe(0);
});

it.skipIf(process.platform === 'win32').each([
  ['fails', '[ "$1" != deploy ]'],
  ['is killed', '[ "$1" != deploy ] || kill -9 $$'],
])('fails where SAM %s, so that a workflow goes no further', (_, sam) => {
  const { status, stdout, stderr } = deploy(sam);
  expect([status, stderr]).toEqual([1, 'sam deploy has failed: see above.\n']);
  expect(stdout).not.toContain('Deployed');
});

it('says how to install SAM where it is not, before it builds anything', () => {
  const { status, stdout, stderr } = deploy(undefined);
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toContain('is not installed. Get it with');
});
