import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { EXAMPLE_ENVIRONMENT } from './example-environment.ts';

/**
 * Stands in for what the platforms' runtimes provide. Node's own fetch is loaded before the clock starts: Node loads it when it
 * is first named, which takes longer than the bundle, and any bundle needs it to serve a request.
 */
const CHILD = `
import { registerHooks } from 'node:module';
const ENVIRONMENT = 'data:text/javascript,export const env = process.env';
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'cloudflare:workers' ? { url: ENVIRONMENT, shortCircuit: true } : next(specifier, context),
});
void [fetch, Response, WebSocket];
globalThis.awslambda = { streamifyResponse: (handler) => handler };
const start = performance.now();
await import(process.argv[1]);
process.stdout.write(String(performance.now() - start), () => process.exit());
`;

/**
 * How long a bundle takes to load and to start its app, in a Node process of its own each time.
 * @param url of the bundle, `file:`
 * @param runs how often
 * @returns milliseconds, the median
 */
export async function measureImport(
  url: URL,
  runs: number,
  env: Record<string, string> = EXAMPLE_ENVIRONMENT,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const args = ['--input-type=module', '--eval', CHILD, url.href];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env }).catch(refuse);
    times.push(Number(stdout));
  }
  return median(times);
}

export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** Throws the first line that says what went wrong, out of a stack trace and the source. */
function refuse({ stderr = '' }: { stderr?: string }): never {
  throw new Error(/^\w*Error: .*$/m.exec(stderr)?.[0] ?? `the bundle does not start:\n${stderr}`);
}
