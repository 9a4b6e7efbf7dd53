import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { bundleTable, contents } from '../../scripts/bundle-budgets.ts';
import { type Bundle, unusedModules } from '../../scripts/bundles/bundle.ts';

/**
 * What holds for every bundle that is deployed.
 * @param stranger a module that does not belong into it
 */
export function describeBundle(make: (outdir: string) => Promise<Bundle>, stranger: string): void {
  describe(`the ${make.name}`, () => {
    const directories: string[] = [];
    afterAll(() => Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true }))));

    it('keeps within its size, and carries nothing that its platform does not use', async () => {
      const directory = await mkdtemp(path.join(tmpdir(), 'bundle-test-'));
      directories.push(directory);
      const bundle = await make(directory);
      expect(bundleTable(contents(bundle))).toContain(`${bundle.name}: unused`);

      const { metafile } = await build({
        absWorkingDir: fileURLToPath(new URL('../../', import.meta.url)),
        entryPoints: [stranger],
        bundle: true,
        write: false,
        platform: 'node',
        external: ['pg-native'],
        metafile: true,
      });
      expect(unusedModules({ ...bundle, outputs: metafile.outputs })).toContain(stranger);
      const [size] = contents(bundle);
      expect(() => bundleTable(size ? [{ ...size, measured: size.budget + 0.04 }] : [])).toThrow('over its budget');
    });
  });
}
