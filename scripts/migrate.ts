import '../src/fast-imports.ts';
import { databaseUrls } from './environment.ts';
import { runCommand } from './run-command.ts';

const HELP = `Applies the migrations as the owner role and grants the application's role (migrations/grants.sql).

Usage: npm run db:migrate [-- --data DIR]

Uses DATABASE_OWNER_URL (and DATABASE_URL, for the name of the application's role) of the environment or .env; where neither
is set, the database of a running "npm run dev" (--data, if it was started with one). DATABASE_TRANSPORT=tcp goes over TCP.
All new migrations are one transaction. Of two at once, one waits; when there is nothing to do, nothing changes.
`;

await runCommand(HELP, { options: { data: { type: 'string' } } }, async ({ values }) => {
  const urls = databaseUrls(values.data);
  console.log(`Migrating ${urls.name} …`);
  const { applyMigrations } = await import('./apply-migrations.ts');
  const { applied, role } = await applyMigrations(urls.owner, urls.app, {
    transport: urls.transport,
    onWait: (reason) => console.log(`${reason} …`),
    onWarning: (message) => console.warn(`Warning: ${message}`),
  });
  return `${applied === 0 ? 'Nothing new' : `Applied ${applied}`}; granted "${role}" the privileges in migrations/grants.sql.`;
});
