import '../src/fast-imports.ts';
import { parseConnectionString } from '../src/db/connection-string.ts';
import { serverTransports } from '../src/server-transports.ts';
import { databaseUrls } from './environment.ts';
import { runCommand } from './run-command.ts';

const HELP = `Loads the demo data, once.

Usage: npm run db:seed [-- --data DIR]

Uses DATABASE_URL of the environment or .env, which must have DATABASE_OWNER_URL, too; where neither is set, the database
of a running "npm run dev" (--data, if it was started with one).
`;

await runCommand(HELP, { options: { data: { type: 'string' } } }, async ({ values }) => {
  const urls = databaseUrls(values.data);
  const { host, database: name } = parseConnectionString(urls.app);
  console.log(`Seeding ${name} on ${host} …`);
  const { createDatabase } = await import('../src/db/database.ts');
  const { seedDemoData } = await import('./demo.ts');
  const database = createDatabase({
    url: urls.app,
    schema: {},
    transports: await serverTransports(urls.transport),
    sockets: 'instance',
  });
  try {
    return (await seedDemoData(database)) ? 'Loaded the demo data.' : 'The demo data is already there.';
  } finally {
    await database.close();
  }
});
