import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { defineConfig } from 'drizzle-kit';
import { databaseUrls } from './scripts/environment.ts';

const schema = { dialect: 'postgresql', schema: './src/*/schema.ts', out: './migrations' } as const;

/** Where the studio's pages come from, which ask the server that it starts on this machine. */
const STUDIO = 'https://local.drizzle.studio';

const isStudio = process.argv.includes('studio');

// That server runs SQL as the owner for any page in the browser. What another one asks is sent where nothing answers.
if (isStudio) {
  subscribe('http.server.request.start', (message) => {
    const { request } = message as { request: IncomingMessage };
    if (request.headers.origin !== STUDIO) request.url = '/refused';
  });
}

const [, , command] = process.argv;
if (command === 'migrate' || command === 'push') {
  throw new Error(`Run "npm run db:migrate" instead: "drizzle-kit ${command}" grants the application's role nothing.`);
}

// Only the studio connects; generating migrations needs no database.
export default defineConfig({ ...schema, ...(isStudio && { dbCredentials: { url: databaseUrls().tool } }) });
