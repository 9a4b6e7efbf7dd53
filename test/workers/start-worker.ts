import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { convertV4MiniflareOptions, type LegacyWorkerOptions, Miniflare } from 'miniflare';
import { inject } from 'vitest';
import { unstable_readConfig } from 'wrangler';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import type { Target, TargetOptions } from '../contract.ts';

/**
 * Bundles a Worker of the tests' own, beside the one that would be deployed.
 * @returns the bundle's path
 */
export async function bundleWorker(name: string, entryPoint: string, plugins: Plugin[] = []): Promise<string> {
  const outfile = path.join(path.dirname(inject('workerBundle')), `${name}.js`);
  const external = ['cloudflare:workers'];
  await build({ entryPoints: [entryPoint], outfile, bundle: true, format: 'esm', external, plugins });
  return outfile;
}

/** A bundle under the settings of wrangler.toml. Default: the bundle that would be deployed. */
export function workerOptions(scriptPath = inject('workerBundle')) {
  const { compatibility_date, compatibility_flags } = unstable_readConfig({
    config: fileURLToPath(new URL('../../wrangler.toml', import.meta.url)),
  });
  return {
    scriptPath,
    modulesRoot: path.dirname(scriptPath),
    modules: true,
    ...(compatibility_date !== undefined && { compatibilityDate: compatibility_date }),
    compatibilityFlags: compatibility_flags,
    cf: false,
  } as const;
}

/**
 * Runs a bundle in workerd, behind a real socket. A request for `/cdn-cgi/local/scheduled` runs a job on a schedule.
 * @param bindings more than variables, as Miniflare takes them
 */
export async function startWorker(
  { databaseUrl, apiToken }: TargetOptions,
  scriptPath?: string,
  bindings: Partial<
    Pick<LegacyWorkerOptions, 'durableObjects' | 'hyperdrives' | 'queueConsumers' | 'queueProducers' | 'ratelimits'>
  > = {},
): Promise<Target & { url: URL }> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      ...workerOptions(scriptPath),
      ...bindings,
      bindings: { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: databaseUrl, API_TOKEN: apiToken },
      unsafeTriggerHandlers: true, // as wrangler has it
      handleStructuredLogs() {}, // what the Worker logs is not what is looked at here
    }),
  );
  const url = await miniflare.ready;
  return {
    url,
    fetch: (route, init) => fetch(new URL(route, url), init),
    close: () => miniflare.dispose(),
  };
}
