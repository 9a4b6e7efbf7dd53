import type { Metafile } from 'esbuild';

/** What is deployed to a platform. */
export interface Bundle {
  name: string;
  outputs: Metafile['outputs'];
  /** Modules that the platform has no use for. One counts as in the bundle if any of it is left. */
  unused: readonly RegExp[];
  /** The size of what is uploaded, and its budget, in kB. */
  size: { measured: number; budget: number; unit: 'kB gzip' | 'kB zip' };
  /** Modules that the platform loads, by a name for people. */
  entries: Record<string, URL>;
  /** For the import of each, in milliseconds on a machine on which the Neon driver alone takes `DRIVER_MS`. */
  importBudget: number;
}

/** What belongs in no bundle: this repository's tools, and what stands in for a platform's runtime in Node. */
export const NEVER = [/^(local|scripts|test|bench)\//, /^node_modules\/(ws|miniflare|@hono\/node-server)\//];

/** @returns the modules in a bundle that its platform does not use */
export function unusedModules({ outputs, unused }: Pick<Bundle, 'outputs' | 'unused'>): string[] {
  const modules = Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs));
  return modules
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([name]) => name.replace(/^.*(?=node_modules\/)/, '')) // in a monorepo, it may be in a folder above
    .filter((name) => unused.some((pattern) => pattern.test(name)));
}
