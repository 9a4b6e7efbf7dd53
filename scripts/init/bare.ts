import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Tree } from './tree.ts';
import { withoutBlock, withoutLines, withoutSection } from './text.ts';

/** What replaces the ledger: one table and one route, as in docs/first-table.md. */
const BARE = fileURLToPath(new URL('bare/', import.meta.url));

/** Problems that only a ledger has. */
const LEDGER_PROBLEMS =
  /^ {2}'(request-in-progress|reconciliation-in-progress|idempotency-key-reused|same-account|unknown-account|currency-mismatch|insufficient-funds|balance-out-of-range)':/;

/** Where tables and routes are; which of them are the example's, or every application's. */
const OWN = /^(migrations\/\d|src\/(routes|ledger)\/|src\/[^/]+\/schema\.ts$)/;
const LEDGER =
  /^(migrations\/000[0-3]_|src\/routes\/(accounts|health|reconciliations|schemas|statements|transfers)\.ts$|src\/ledger\/(accounts|demo-data|reconciliation|rules|schema|transfers)\.ts$|src\/idempotency\/schema\.ts$)/;

/** Removes the example domain, and leaves one table and one route. */
export function makeBare(tree: Tree): void {
  const own = tree.files().filter((file) => OWN.test(file) && !LEDGER.test(file));
  if (own.length > 0) {
    throw new Error(
      `--bare is for a fresh clone: your own files would be lost, or lack what they need: ${own.join(', ')}.`,
    );
  }
  tree.remove('src/ledger', 'src/idempotency');
  tree.remove('src/routes/accounts.ts', 'src/routes/transfers.ts', 'src/routes/statements.ts');
  tree.remove('src/routes/reconciliations.ts', 'migrations', 'docs/first-table.md');
  const grants = readFileSync(new URL('../../migrations/grants.sql', import.meta.url), 'utf8');
  tree.write('migrations/grants.sql', grants.slice(0, grants.indexOf('\n-- The ledger')));
  for (const file of readdirSync(BARE, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const source = path.join(file.parentPath, file.name);
    tree.write(path.relative(BARE, source).replaceAll('\\', '/'), readFileSync(source, 'utf8'));
  }
  tree.edit('src/problem.ts', (text) => withoutLines(LEDGER_PROBLEMS)(withoutLines(/IdempotencyError/)(text)));
  tree.edit('src/create-app.ts', (text) =>
    withoutLines(/^import \{ (reconciliation|statement|transfer)Routes|\.route\('\/(accounts', statement|transfers)/)(
      text,
    )
      .replace("import * as ledger from './ledger/schema.ts'", "import * as messages from './messages/schema.ts'")
      .replace('{ ...ledger }', '{ ...messages }')
      .replace('Who calls: idempotency keys belong to a caller.', 'Who calls.')
      .replace(
        "import { accountRoutes } from './routes/accounts.ts'",
        "import { messageRoutes } from './routes/messages.ts'",
      )
      .replace(".route('/accounts', accountRoutes)", ".route('/messages', messageRoutes);")
      .replace(/\n *\.route\('\/reconciliations', reconciliationRoutes\);/, ''),
  );
  tree.edit('src/routes/schemas.ts', (text) =>
    ['statementPage', 'currency', 'newAccount', 'newTransfer', 'idempotencyHeader']
      .map((name) => `export const ${name} `)
      .reduce(withoutBlock, withoutLines(/INVALID_AMOUNT = /)(text)),
  );
  tree.edit('src/middleware/request-log.ts', (text) => text.replace('/accounts', '/messages'));
  bareTests(tree);
  bareDocuments(tree);
}

function bareTests(tree: Tree): void {
  const edits: Record<string, (text: string) => string> = {
    'test/lambda/freeze.test.ts': withoutLines(/'\/reconciliations'/),
    'test/local/dev.test.ts': (text) => withoutBlock(text, "it('lets reads that may lag"),
    'test/node/server.test.ts': withoutTransfers,
    'test/scripts/smoke.test.ts': (text) => withoutBlock(text, "it('fails against an API that gives a statement"),
    'test/unit/openapi.test.ts': (text) => withoutBlock(text, "it('two problems of one status"),
  };
  for (const [file, change] of Object.entries(edits)) if (tree.has(file)) tree.edit(file, change);
  tree.remove('test/idempotency', 'test/ledger', 'test/node/typed-client.test.ts', 'test/workers/transfers.test.ts');
  tree.remove('test/unit/rules.test.ts');
}

/** The tests of the Node server, without those that need a route with a transaction. */
const withoutTransfers = (text: string) =>
  ["onUnix('finishes the requests", "onUnix('ends although the other end", 'const prepareTransfer']
    .reduce(withoutBlock, text)
    .replace("import { randomUUID } from 'node:crypto';\n", '');

function bareDocuments(tree: Tree): void {
  tree.edit('README.md', (text) =>
    withoutLines(/^ {2}(Batch|Transaction|Session) +curl|POST +\/transfers/)(text)
      .replaceAll('/accounts', '/messages')
      .replace(' idempotency,', '')
      .replace(/\s+Which transport carries what and why, with numbers:\s+\[[^\]]*\]\([^)]*\)\./, '')
      .replace(/Each way has a route to learn from[\s\S]*?\n\n(?=Your own table)/, '')
      .replace(
        /Your own table and route, end to end: .*\n/,
        'Your own table and route: as `src/messages/`, `src/routes/messages.ts`, and what `src/openapi/operations.ts` says of it.\n',
      ),
  );
  tree.edit('docs/recipes.md', (text) =>
    withoutSection(text, '## Once for each key')
      .replace('api.accounts.$get(', 'api.messages.$get(')
      .replace('`listAccounts` of `src/ledger/accounts.ts`', '`listMessages` of `src/messages/messages.ts`')
      .replace('keep new rows at the end: `v7`', 'keep new rows at one end: `v7`')
      .replace(", 'Idempotency-Replayed'", '')
      .replace(/The notes of \[first-table\.md\][^]*?:/, 'In `src/routes/messages.ts`:')
      .replaceAll(/\bnote(?=s?\b|Change\b)/g, 'message')
      .replaceAll(/(?<=change|delete|export)Note(?=s?\b)/g, 'Message')
      .replace(/whose\s+request it is:\s+idempotency keys belong to a caller\./, 'whose request it is.'),
  );
  tree.edit('docs/deploy.md', (text) => text.replace(/The ledger's\s+triggers still protect its rows\. For/, 'For'));
  tree.edit('docs/errors.md', (text) =>
    text.replace('accounts).values(account)', 'messages).values(message)').replace('; an idempotency key tells', ''),
  );
  tree.edit('AGENTS.md', (text) =>
    text
      .replace('(validate, call the ledger, answer; one file a lesson)', '(validate, query, answer)')
      .replace('`src/ledger/*.ts` (rules and queries; no HTTP)', '`src/messages/*.ts` (rules and queries; no HTTP)')
      .replace('routes → ledger → db', 'routes → messages → db'),
  );
  tree.remove('docs/driver-selection.md'); // its numbers are about the ledger's operations
}
