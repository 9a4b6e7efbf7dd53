import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import { loadEnvironment } from './environment.ts';
import { EXAMPLE_CHECKS } from './example-checks.ts';
import { runCommand } from './run-command.ts';
import { type Ask, CHECKS } from './smoke-checks.ts';

const HELP = `Checks a deployed API from outside: scripts/smoke-checks.ts and scripts/example-checks.ts, which only read.

Usage: npm run smoke -- URL [--wait SECONDS]

  --wait SECONDS   how long the API may take to be live at first (default 60)

Sends API_TOKEN of the environment or .env.
Behind Vercel's deployment protection, set VERCEL_AUTOMATION_BYPASS_SECRET, too.
Wakes a database that is suspended. Exits with 1 when a check fails.
`;

/** Milliseconds for one answer: a cold start, and a database that wakes. */
const ANSWER_MS = 30_000;

const ARGUMENTS = { options: { wait: { type: 'string', default: '60' } }, allowPositionals: true } as const;

await runCommand(HELP, ARGUMENTS, async ({ values, positionals }) => {
  if (positionals.length !== 1) throw new Error('Give one URL: npm run smoke -- https://… (see --help).');
  const waitMs = Number(values.wait) * 1000;
  if (!(waitMs >= 0)) throw new Error(`--wait must be a number of seconds, not "${values.wait}".`);
  const environment = loadEnvironment();
  if (!environment['API_TOKEN']) throw new Error('API_TOKEN is not set: the token of the API being checked.');
  const url = parseUrl(positionals[0] ?? '');
  const ask = createAsk(url, environment);

  console.log(`Checking ${url.origin} …`);
  const notLive = await untilLive(ask, waitMs);
  if (notLive) throw new Error(`not live: ${notLive}`);
  if ((await ask('/nowhere')).status === 401)
    throw new Error('The API, or what is in front of it, refuses this API_TOKEN.');
  const checks = Object.entries({ ...CHECKS, ...EXAMPLE_CHECKS });
  let failed = 0;
  for (const [name, check] of checks) {
    const start = performance.now();
    const failure = await check(ask).then(() => undefined, describe);
    if (failure === undefined) {
      console.log(`${styleText('green', 'ok')}    ${name}, ${Math.round(performance.now() - start)} ms`);
    } else {
      failed++;
      console.log(`${styleText('red', 'FAIL')}  ${name}\n${failure.replaceAll(/^/gm, '      ')}`);
    }
  }
  const summary = `${checks.length - failed} passed, ${failed} failed`;
  if (failed > 0) throw new Error(summary);
  return summary;
});

/** @throws {Error} for what is not a URL, and where the token would travel unencrypted */
function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') throw new Error(`"${text}" is not an https:// URL.`);
  if (url.href !== `${url.origin}/`) throw new Error(`Give only the address: ${url.origin}`);
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol === 'http:' && !isLocal)
    throw new Error(`${url.origin} is not encrypted: the token could be read in transit.`);
  return url;
}

function createAsk({ origin }: URL, environment: Record<string, string | undefined>): Ask {
  const bypass = environment['VERCEL_AUTOMATION_BYPASS_SECRET'];
  return async (path, { token } = { token: environment['API_TOKEN'] }) => {
    const response = await fetch(new URL(path, origin), {
      redirect: 'manual', // the token is not for wherever that leads
      headers: {
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...(bypass && { 'x-vercel-protection-bypass': bypass }),
      },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const { status, headers } = response;
    const isJson = /^application\/(problem\+)?json/.test(headers.get('Content-Type') ?? '');
    const body = isJson ? ((await response.json()) as Record<string, unknown>) : {};
    return { status, headers, body };
  };
}

/**
 * A deployment takes a moment to be everywhere.
 * @returns why it is not live after that time; undefined when it is
 */
async function untilLive(ask: Ask, waitMs: number): Promise<string | undefined> {
  const end = performance.now() + waitMs;
  for (let said = false; ; said = true) {
    const problem = await ask('/health/live', { token: undefined }).then(
      ({ status }) => (status === 200 ? undefined : `GET /health/live answers ${status}`),
      describe,
    );
    if (problem === undefined || performance.now() >= end) return problem;
    if (!said) console.log(`Not live yet: ${problem}. Waiting for up to ${waitMs / 1000} s …`);
    await sleep(1_000);
  }
}

/** With its cause: `fetch failed` alone says nothing. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
