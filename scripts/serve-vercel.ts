/**
 * Serves a function as Vercel's runtime does: the `fetch` of its default export, many requests at once, and the request context
 * that @vercel/functions looks for.
 *
 * Usage: node scripts/serve-vercel.ts [FILE]   (default functions/vercel.ts; listens on PORT)
 */
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { serveLocally } from './serve-locally.ts';

// This process is never suspended: there is nothing to keep awake.
const context = { waitUntil: (promise: Promise<unknown>) => void promise.catch(console.error) };
Object.assign(globalThis, { [Symbol.for('@vercel/request-context')]: { get: () => context } });

const [file = fileURLToPath(new URL('../functions/vercel.ts', import.meta.url))] = process.argv.slice(2);
const { default: app } = (await import(pathToFileURL(path.resolve(file)).href)) as {
  default: { fetch: (request: Request) => Response | Promise<Response> };
};
const { fetch } = app; // called without its object
serveLocally((request) => fetch(request));
