import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { defineConfig } from 'drizzle-kit';
import { databaseUrls } from './scripts/environment.ts';

const schema = { dialect: 'postgresql', schema: './src/*/schema.ts', out: './migrations' } as const;

/** Where the studio's pages come from, which ask the server that it starts on this machine. */
const STUDIO = 'https://local.drizzle.studio';

// Only the studio connects; generating migrations needs no database.
export default process.argv.includes('studio')
  ? defineConfig({ ...schema, dbCredentials: { url: onlyForStudio(databaseUrls().tool) } })
  : defineConfig(schema);

/** That server runs SQL as the owner for any page in the browser. What another one asks is sent where nothing answers. */
function onlyForStudio(url: string): string {
  subscribe('http.server.request.start', (message) => {
    const { request } = message as { request: IncomingMessage };
    if (request.headers.origin !== STUDIO) request.url = '/refused';
  });
  return url;
}
