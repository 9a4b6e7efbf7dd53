import '../src/fast-imports.ts';
import { runCommand } from './run-command.ts';

const HELP = `Prints the OpenAPI 3.1 document of the API, as src/openapi/operations.ts describes it.

Usage: npm run openapi [-- options]
       npm run --silent openapi > openapi.json

  --server URL    where the API is (default: where the document is)
`;

const OPTIONS = { server: { type: 'string' } } as const;

await runCommand(HELP, { options: OPTIONS }, async ({ values: { server } }) => {
  // Without a scheme, it would be a path relative to the document's.
  if (server !== undefined && !/^(https?:\/)?\//.test(server))
    throw new Error(`--server must begin with https:// or /, not "${server}".`);
  const { openApiDocument } = await import('./openapi/document.ts');
  return JSON.stringify(openApiDocument(server), null, 2);
});
