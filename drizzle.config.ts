import { defineConfig } from 'drizzle-kit';
import { databaseUrls } from './scripts/environment.ts';

const schema = { dialect: 'postgresql', schema: './src/*/schema.ts', out: './migrations' } as const;

// Only the studio connects; generating migrations needs no database.
export default process.argv.includes('studio')
  ? defineConfig({ ...schema, dbCredentials: { url: databaseUrls().tool } })
  : defineConfig(schema);
