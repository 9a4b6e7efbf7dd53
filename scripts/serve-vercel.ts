/**
 * Serves a function as Vercel's runtime does: the `fetch` of its default export, many requests at once, and the request context
 * that @vercel/functions and @vercel/otel look for.
 *
 * Usage: node scripts/serve-vercel.ts [FILE]   (default functions/vercel.ts; listens on PORT)
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { serveLocally } from './serve-locally.ts';

const contexts = new AsyncLocalStorage<object>();
Object.assign(globalThis, { [Symbol.for('@vercel/request-context')]: { get: () => contexts.getStore() } });

// This process is never suspended: there is nothing to keep awake.
const waitUntil = async (work: Promise<unknown> | (() => Promise<unknown>)) => {
  await (typeof work === 'function' ? work() : work).catch(console.error);
};

const [file = fileURLToPath(new URL('../functions/vercel.ts', import.meta.url))] = process.argv.slice(2);
const { default: app } = (await import(pathToFileURL(path.resolve(file)).href)) as {
  default: { fetch: (request: Request) => Response | Promise<Response> };
};
const { fetch } = app; // called without its object
serveLocally((request) => {
  const { headers, url } = request;
  return contexts.run({ waitUntil, headers: Object.fromEntries(headers), url }, () => fetch(request));
});
