import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';

const DESCRIBE_ERROR = new URL('../../scripts/describe-error.ts', import.meta.url);

/** What a command prints that loads this code, in Node itself. */
async function describeFailure(code: string): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'describe-error-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'code.mts');
  await writeFile(file, code);
  const script = `import { describeError } from '${DESCRIBE_ERROR.href}';
    await import('${pathToFileURL(file).href}').catch((error) => console.log(describeError(error)));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  return stdout;
}

it.each([
  ['const x = = 3;', 'code.mts:2\n', 'Expression expected\n'],
  ['undefined.name;', 'TypeError: ', 'code.mts:2:11\n'],
  ["import { nothing } from 'node:fs';", 'code.mts:2\n', "'nothing'\n"],
])('where in the code it is: %s', async (line, ...parts) => {
  const text = await describeFailure(`// The first line.\n${line}`);
  for (const part of parts) expect(text).toContain(part);
  expect(text).not.toContain('node:internal');
});

it('only the sentence, for what says itself what is wrong', async () => {
  expect(await describeFailure("throw new Error('--port must be a port.');")).toBe('--port must be a port.\n');
});
