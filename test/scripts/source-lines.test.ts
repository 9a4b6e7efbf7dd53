import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nameSourceLines } from '../../scripts/source-lines.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'source-lines-'));
});
afterAll(() => rm(directory, { recursive: true }));

it("an error's lines are those of the source, where the bundle has a map", async () => {
  await writeFile(
    path.join(directory, 'thrower.ts'),
    `const a: number = 1;\n\nexport const error = new Error(\`\${a}\`);\n`,
  );
  const entry = path.join(directory, 'entry.ts');
  await writeFile(entry, `console.debug;\nexport { error } from './thrower.ts';\n`);
  const stackOf = async (outfile: string, sourcemap: boolean) => {
    await build({
      entryPoints: [entry],
      outfile: path.join(directory, outfile),
      bundle: true,
      format: 'esm',
      sourcemap,
    });
    const print = `const { error } = await import(${JSON.stringify(pathToFileURL(path.join(directory, outfile)))}); console.log(error.stack);`;
    return execFileSync(process.execPath, ['--input-type=module', '--eval', print], { encoding: 'utf8' });
  };
  const source = path.relative('', path.join(directory, 'thrower.ts')).replaceAll('\\', '/');
  expect(nameSourceLines(await stackOf('mapped.js', true))).toContain(`at ${source}:3:22`);
  const unmapped = await stackOf('unmapped.js', false);
  expect(nameSourceLines(unmapped)).toBe(unmapped);
});

it.each(['{"path":"/file://elsewhere/x.js:1:1"}', 'file:///a%2Fb.js:1:1'])(
  'leaves %s as it is: who asks chooses the path',
  (text) => {
    expect(nameSourceLines(text)).toBe(text);
  },
);

it('leaves lines as they are where the map is half written', async () => {
  const bundle = path.join(directory, 'half.js');
  await writeFile(`${bundle}.map`, '{"version":');
  const place = `${pathToFileURL(bundle).href}:1:1`;
  expect(nameSourceLines(place)).toBe(place);
});
