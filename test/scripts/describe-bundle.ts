import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { bundleTable, contents } from '../../scripts/bundle-budgets.ts';
import { type Bundle, unusedModules } from '../../scripts/bundles/bundle.ts';
import { packageFolder } from '../../scripts/package-folder.ts';

/**
 * What holds for every bundle that is deployed.
 * @param strangers modules that do not belong into it
 */
export function describeBundle(make: (outdir: string) => Promise<Bundle>, strangers: string[]): void {
  describe(`the ${make.name}`, () => {
    const directories: string[] = [];
    afterAll(() => Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true }))));

    it('keeps within its size, and carries nothing that its platform does not use', async () => {
      const directory = await mkdtemp(path.join(tmpdir(), 'bundle-test-'));
      directories.push(directory);
      const bundle = await make(directory);
      expect(bundleTable(contents(bundle))).toContain(`${bundle.name}: unused`);
      // What an entry imports first, such as a tracer, is no stranger.
      const inputs = { 'functions/instrument.ts': { bytesInOutput: 1 } };
      const outputs = { 'a.mjs': { inputs, bytes: 1, imports: [], exports: [] } };
      expect(unusedModules({ ...bundle, outputs })).toEqual([]);

      const { metafile } = await build({
        absWorkingDir: fileURLToPath(new URL('../../', import.meta.url)),
        entryPoints: strangers.map((name) =>
          name.replace(/^node_modules\/([^/]+)/, (_, found: string) => packageFolder(found)),
        ),
        bundle: true,
        write: false,
        outdir: directory,
        platform: 'node',
        external: ['pg-native', 'cloudflare:sockets'],
        metafile: true,
      });
      const foreign = { ...bundle, outputs: metafile.outputs };
      expect(unusedModules(foreign)).toEqual(expect.arrayContaining(strangers));
      const [size, unused] = contents(foreign);
      expect(() => bundleTable(unused ? [unused] : [])).toThrow('over its budget');
      expect(() => bundleTable(size ? [{ ...size, measured: size.budget + 0.04 }] : [])).toThrow('over its budget');
    });
  });
}
