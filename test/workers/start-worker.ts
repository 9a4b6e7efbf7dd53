import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, type LegacyWorkerOptions, Miniflare } from 'miniflare';
import { inject } from 'vitest';
import { unstable_readConfig } from 'wrangler';
import type { Target, TargetOptions } from '../contract.ts';

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
 * Runs a bundle in workerd, behind a real socket.
 * @param bindings more than variables, as Miniflare takes them
 */
export async function startWorker(
  { databaseUrl, apiToken }: TargetOptions,
  scriptPath?: string,
  bindings: Partial<Pick<LegacyWorkerOptions, 'hyperdrives' | 'ratelimits'>> = {},
): Promise<Target> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      ...workerOptions(scriptPath),
      ...bindings,
      bindings: { DATABASE_URL: databaseUrl, API_TOKEN: apiToken },
      handleStructuredLogs() {}, // what the Worker logs is not what is looked at here
    }),
  );
  const url = await miniflare.ready;
  return {
    fetch: (route, init) => fetch(new URL(route, url), init),
    close: () => miniflare.dispose(),
  };
}
