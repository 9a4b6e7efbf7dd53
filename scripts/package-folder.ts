import { findPackageJSON } from 'node:module';
import path from 'node:path';

/** Where a package is installed: in a monorepo, it may be in the `node_modules` of a folder above. */
export function packageFolder(name: string): string {
  const manifest = findPackageJSON(name, import.meta.url);
  if (manifest === undefined) throw new Error(`${name} is not installed.`);
  return path.dirname(manifest);
}
