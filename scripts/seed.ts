import { parseArgs } from 'node:util';
import { createDatabase } from '../src/db/database.ts';
import { neonHttp } from '../src/db/http.ts';
import { neonWebSocket } from '../src/db/websocket.ts';
import { seedDemoData } from './demo.ts';
import { databaseUrls } from './environment.ts';
import { runCommand } from './run-command.ts';

const HELP = `Puts in demo data, once.

Usage: npm run db:seed [-- --data DIR]

Uses DATABASE_URL from the environment or .env, or else the database of a running "npm run dev" (--data, if it was started with one).
`;

await runCommand(async () => {
  const { values } = parseArgs({ options: { data: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) return HELP;
  const urls = databaseUrls(values.data);
  console.log(`Seeding ${urls.name} …`);
  const database = createDatabase({
    url: urls.app,
    schema: {},
    transports: { http: neonHttp(), websocket: neonWebSocket() },
    sockets: 'instance',
  });
  try {
    return (await seedDemoData(database)) ? 'Put in the demo data.' : 'The demo data is there already.';
  } finally {
    await database.close();
  }
});
