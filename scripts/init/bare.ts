import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Tree } from './tree.ts';
import { withoutBlock, withoutLines, withoutSection } from './text.ts';

/** What takes the place of the ledger: one table and one route, as in docs/first-table.md. */
const BARE = fileURLToPath(new URL('bare/', import.meta.url));

/** Problems that only a ledger has. */
const LEDGER_PROBLEMS =
  /^ {2}'(request-in-progress|reconciliation-in-progress|idempotency-key-reused|same-account|unknown-account|currency-mismatch|insufficient-funds|balance-out-of-range)':/;

const MESSAGES_CONTRACT = `    describe('messages', () => {
      it('are kept, the latest first', async () => {
        expect((await post('/messages', { text: 'hello' })).status).toBe(201);
        expect(await json(await call('/messages'))).toMatchObject({ items: [{ text: 'hello' }] });
      });

      it.each([
        ['malformed JSON', '{"text":'],
        ['no text', {}],
        ['a text with a NUL', { text: 'a\\0b' }],
      ])('refuse %s', async (_, body) => {
        await expectProblem(await post('/messages', body), 400, 'invalid-request');
      });

      it('refuse a body that is too large', async () => {
        await expectProblem(await post('/messages', { text: 'x'.repeat(70_000) }), 413, 'payload-too-large');
      });
    });

`;

const MESSAGES_CHECKS = `/** The part of test/contract.ts that only reads. */
const MESSAGES: Record<string, Check> = {
  async 'lists messages'(ask) {
    const { status, body } = await ask('/messages');
    equal(status, 200);
    ok(Array.isArray(body['items']));
  },
};

`;

/** Where tables and routes are; the example's, and what every application has. */
const OWN = /^(migrations\/\d|src\/(routes|ledger)\/|src\/[^/]+\/schema\.ts$)/;
const LEDGER =
  /^(migrations\/000[0-3]_|src\/routes\/(accounts|health|reconciliations|schemas|statements|transfers)\.ts$|src\/ledger\/(accounts|demo-data|reconciliation|rules|schema|transfers)\.ts$|src\/idempotency\/schema\.ts$)/;

/** Takes the example domain out, and leaves one table and one route. */
export function makeBare(tree: Tree): void {
  const own = tree.files().filter((file) => OWN.test(file) && !LEDGER.test(file));
  if (own.length > 0) {
    throw new Error(
      `--bare is for a fresh clone: what is yours would be lost, or miss what it needs: ${own.join(', ')}.`,
    );
  }
  tree.remove('src/ledger', 'src/idempotency', 'src/page.ts');
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
  tree.edit('scripts/smoke-checks.ts', (text) =>
    withoutBlock(text, 'const LEDGER')
      .replace('/** What a deployment', `${MESSAGES_CHECKS}/** What a deployment`)
      .replace('...LEDGER', '...MESSAGES')
      .replace("import { randomUUID } from 'node:crypto';\n", ''),
  );
  bareTests(tree);
  bareDocuments(tree);
}

function bareTests(tree: Tree): void {
  tree.edit('test/contract.ts', (text) => {
    let kept = [
      "describe('accounts'",
      "describe('transfers'",
      "describe('statements'",
      "describe('reconciliations'",
    ].reduce(withoutBlock, text);
    kept = ['const openAccount', 'const transfer =', 'const balanceOf', 'interface Account', 'interface Page<'].reduce(
      withoutBlock,
      kept,
    );
    return ofMessages(withoutLines(/call\('\/transfers'\)|'GET', `\/|'POST', '\/reconciliations'/)(kept))
      .replace(/\n *const body = \{ fromAccountId[\s\S]*?await expectProblem\(response[^\n]*\n/, '\n')
      .replace('const account =', 'const message =')
      .replace("post('/messages', account,", "post('/messages', message,")
      .replaceAll(/accounts(?=_away| rename|\|relation)|(?<=to )accounts/g, 'messages')
      .replace("import { randomUUID } from 'node:crypto';\n", '')
      .replace(/ {4}describe\('failures'/, `${MESSAGES_CONTRACT}$&`);
  });
  // They test something else, by routes that happen to be the ledger's.
  const edits: Record<string, (text: string) => string> = {
    'test/lambda/freeze.test.ts': withoutLines(/'\/reconciliations'/),
    'test/lambda/secret.test.ts': (text) => text,
    'test/local/dev.test.ts': (text) => withoutBlock(text, "it('lets reads that may lag"),
    'test/node/server.test.ts': withoutTransfers,
    'test/scripts/smoke.test.ts': (text) => withoutBlock(text, "it('fails against an API that gives a statement"),
    'test/workers/contract.test.ts': (text) => text,
  };
  for (const [file, change] of Object.entries(edits)) {
    if (tree.has(file)) tree.edit(file, (text) => ofMessages(change(text)));
  }
  tree.remove('test/idempotency', 'test/ledger', 'test/node/typed-client.test.ts', 'test/workers/transfers.test.ts');
  tree.remove('test/unit/page.test.ts', 'test/unit/rules.test.ts');
}

const ofMessages = (text: string) =>
  text
    .replaceAll(/(?<=\/|table )accounts/g, 'messages')
    .replace("{ name: 'Ada', currency: 'EUR' }", "{ text: 'hello' }");

/** What is left of the Node server's tests where no route has a transaction. */
const withoutTransfers = (text: string) =>
  ["it('finishes the requests", "it('ends although the other end", 'const prepareTransfer']
    .reduce(withoutBlock, text)
    .replace("import { randomUUID } from 'node:crypto';\n", '')
    .replace('type Server, ', '')
    .replaceAll('lockAccounts', 'lockMessages');

function bareDocuments(tree: Tree): void {
  tree.edit('README.md', (text) =>
    withoutLines(/^ {2}(Batch|Transaction|Session) +curl|POST +\/transfers/)(text)
      .replaceAll('/accounts', '/messages')
      .replace(' idempotency, pages,', '')
      .replace(/\s+Why which transport, with numbers:\s+\[[^\]]*\]\([^)]*\)\./, '')
      .replace(/Each way has a route to learn from[\s\S]*?\n\n(?=Your own table)/, '')
      .replace(
        /Your own table and route, end to end: .*\n/,
        'Your own table and route: as `src/messages/`, `src/routes/messages.ts`, and what `src/openapi/operations.ts` says of it.\n',
      ),
  );
  tree.edit('docs/recipes.md', (text) =>
    ['## Once for each key', '## Lists in pages']
      .reduce(withoutSection, text)
      .replace("accounts.$get({ query: { limit: '10' } })", 'messages.$get()')
      .replace(", 'Idempotency-Replayed'", '')
      .replace(/The notes of \[first-table\.md\][^]*?:\n\n/, '')
      .replaceAll(/\bnote(?=s?\b|Change\b)/g, 'message')
      .replaceAll(/(?<=change|delete)Note\b/g, 'Message')
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
  tree.remove('docs/driver-selection.md'); // its numbers are of the ledger's operations
}
