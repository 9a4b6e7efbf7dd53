import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { initialise } from '../../scripts/init/init.ts';
import { PLATFORM_NAMES, PLATFORMS } from '../../scripts/init/platforms.ts';
import { openTree } from '../../scripts/init/tree.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Milliseconds: it installs and tests a whole application. */
const TIMEOUT = 900_000;

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function newDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'init tést-'));
  directories.push(directory);
  return directory;
}

/** This shell's environment without what npm and vitest have put into it. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_|VITEST|NODE_ENV|DATABASE_|API_TOKEN|TEST$|DEV$|PROD$|MODE$)/.test(name),
  ),
);

function run(cwd: string, command: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: 'utf8', maxBuffer: 2 ** 26 });
  return { status, output: stdout + stderr };
}

function expectSuccess(cwd: string, command: string, ...args: string[]): string {
  const { status, output } = run(cwd, command, ...args);
  expect(status, `${command} ${args.join(' ')}\n${output.slice(-20_000)}`).toBe(0);
  return output;
}

const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], {
    cwd,
    env,
    encoding: 'utf8',
  });

const filesOf = (cwd: string) => git(cwd, 'ls-files').trim().split('\n');

function commit(cwd: string): void {
  git(cwd, 'add', '--all');
  git(cwd, 'commit', '--quiet', '--message', 'commit');
}

/** The template as it is here, changes that are not committed included, in a repository of its own. */
function cloneTemplate(): string {
  const clone = newDirectory();
  const known = git(ROOT, 'ls-files', '--cached', '--others', '--exclude-standard').trim().split('\n');
  for (const file of known.filter((file) => existsSync(path.join(ROOT, file)))) {
    cpSync(path.join(ROOT, file), path.join(clone, file));
  }
  git(clone, 'init', '--quiet', '--initial-branch', 'main');
  commit(clone);
  return clone;
}

/** The template in a folder of a repository. */
function cloneIntoMonorepo(): { monorepo: string; project: string } {
  const template = cloneTemplate();
  const monorepo = newDirectory();
  const project = path.join(monorepo, 'apps/api');
  rmSync(path.join(template, '.git'), { recursive: true });
  cpSync(template, project, { recursive: true });
  git(monorepo, 'init', '--quiet', '--initial-branch', 'main');
  commit(monorepo);
  return { monorepo, project };
}

const IS_TEST = /^test\/.*\.test\.ts$/;

/** Tests of more than what they import: of bundles, and of the platforms' settings. */
const READ_SETTINGS = /\/(contract|environments|template|preview|upload)\.test\.ts$/;

/** Whether a project's file, or one that it imports, is not the template's. */
function isChanged(project: string, file: string, known = new Set<string>()): boolean {
  if (known.has(file)) return false;
  known.add(file);
  const [text, ofTemplate] = [project, ROOT].map((directory) => readIfThere(path.join(directory, file)));
  const imported = [...(text ?? '').matchAll(/\bfrom '(\.\.?\/[^']+\.ts)'/g)].map(([, to = '']) =>
    path.posix.join(path.posix.dirname(file), to),
  );
  return text !== ofTemplate || imported.some((to) => isChanged(project, to, known));
}

const readIfThere = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8') : undefined);

/** The files that a document names, the reader's own aside, and what is on other people's sites. */
const filesNamed = ([file, text]: readonly [string, string]) =>
  file === 'docs/first-table.md'
    ? []
    : [...text.matchAll(/(?<!\w\/)\b(?:functions|docs|src|test|scripts)\/[\w/.-]+\.\w+\b/g)].map(
        ([named]) => [file, named] as const,
      );

describe('npm run init', () => {
  it.each<[string, string[], { gone: RegExp; there: string[]; dependencies: string[] }]>([
    [
      'keeps the platforms that are named',
      ['--platforms', 'workers,lambda'],
      {
        gone: /^(functions\/(vercel|node)\.ts|vercel\.json|Dockerfile|bench\/|scripts\/init|test\/(platforms|vercel|workers\/recipes)\b)/,
        there: ['functions/worker.ts', 'functions/lambda.ts', 'src/ledger/schema.ts', 'test/local/gateway.test.ts'],
        dependencies: ['@vercel/functions'],
      },
    ],
    [
      'leaves one table and one route',
      ['--bare'],
      {
        gone: /ledger|accounts|transfers|^(bench\/|scripts\/init|test\/platforms\/)/,
        there: ['src/messages/schema.ts', 'migrations/0000_messages.sql', 'functions/worker.ts', 'functions/vercel.ts'],
        dependencies: [],
      },
    ],
    [
      'does both, without Workers',
      ['--bare', '--platforms', 'lambda'],
      {
        gone: /ledger|^(functions\/(worker|vercel|node)\.ts|wrangler\.toml|test\/workers\/|bench\/|scripts\/init)/,
        there: ['src/messages/schema.ts', 'functions/lambda.ts', 'test/lambda/contract.test.ts'],
        dependencies: ['wrangler', 'miniflare', '@vercel/functions'],
      },
    ],
  ])(
    '%s, and what is left passes its own tests and checks',
    (_, options, { gone, there, dependencies }) => {
      const template = cloneTemplate();
      cpSync(path.join(ROOT, 'node_modules'), path.join(template, 'node_modules'), {
        recursive: true,
        verbatimSymlinks: true,
      });
      const output = expectSuccess(template, 'npm', 'run', 'init', '--', '--name', 'my-app', ...options);
      expect(output).toContain('This is my-app now.');
      commit(template);

      const app = newDirectory();
      git(app, 'clone', '--quiet', template, '.');
      const files = filesOf(app);
      expect(files.filter((file) => gone.test(file))).toEqual([]);
      expect(files).toEqual(expect.arrayContaining(there));
      const manifest = JSON.parse(readFileSync(path.join(app, 'package.json'), 'utf8')) as Record<string, object>;
      expect(manifest['name']).toBe('my-app');
      expect(Object.keys({ ...manifest['dependencies'], ...manifest['devDependencies'] })).not.toEqual(
        expect.arrayContaining(dependencies.length > 0 ? dependencies : [undefined]),
      );

      const texts = files
        .filter((file) => file !== 'LICENSE')
        .map((file) => [file, readFileSync(path.join(app, file), 'utf8')] as const);
      expect(texts.filter(([, text]) => text.includes('edge-postgres-starter')).map(([file]) => file)).toEqual([]);
      const scripts = Object.keys(manifest['scripts'] ?? {});
      const mentioned = texts
        .filter(([file]) => /\.(md|yml)$|^\.ci\//.test(file))
        .flatMap(([file, text]) =>
          [...text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name = '']) => [file, name]),
        );
      expect(mentioned.filter(([, name = '']) => !scripts.includes(name))).toEqual([]);

      const ofTemplate = options.includes('--bare') ? /ledger|\bbench\//i : /\bbench\//;
      const documents = texts.filter(([file]) => file.endsWith('.md'));
      expect(documents.filter(([, text]) => ofTemplate.test(text)).map(([file]) => file)).toEqual([]);

      const paths = documents.concat(texts.filter(([file]) => file.startsWith('.env'))).flatMap(filesNamed);
      expect(paths.filter(([, named]) => !existsSync(path.join(app, named)))).toEqual([]);

      // As npm ci, which compares the lockfile with package.json, would install them.
      expectSuccess(app, 'npm', 'ci', '--dry-run', '--prefer-offline', '--no-audit', '--no-fund');
      renameSync(path.join(template, 'node_modules'), path.join(app, 'node_modules'));
      expectSuccess(app, 'npm', 'prune', '--no-audit', '--no-fund');
      expectSuccess(app, 'npm', 'run', 'check');
      // A test that is the template's, with all that it imports, has passed there. Each worker imports everything anew.
      const tests = files.filter((file) => READ_SETTINGS.test(file) || (IS_TEST.test(file) && isChanged(app, file)));
      expect(expectSuccess(app, 'npm', 'test', '--', '--maxWorkers=2', ...tests)).toMatch(/\d+ passed, 0 failed/);
      expect(git(app, 'status', '--porcelain')).toBe('');
      for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
    },
    TIMEOUT,
  );

  const kinds = PLATFORM_NAMES.flatMap((platform) => [false, true].map((bare) => ({ platform, bare })));
  it.each(kinds)('leaves nothing of what is gone, for $platform alone, bare: $bare', ({ platform, bare }) => {
    const tree = openTree(ROOT);
    initialise(tree, { name: 'my-app', platforms: [platform], bare, repository: undefined });
    const files = tree.files();
    const texts = files.map((file) => [file, tree.read(file)] as const);

    const named = texts.filter(([file]) => file.endsWith('.md')).flatMap(filesNamed);
    expect(named.filter(([, file]) => !tree.has(file))).toEqual([]);
    const gone = openTree(ROOT)
      .files()
      .filter((file) => file.startsWith('docs/') && !tree.has(file));
    expect(texts.filter(([, text]) => gone.some((document) => text.includes(document))).map(([file]) => file)).toEqual(
      [],
    );
    const readme = tree.read('README.md');
    expect(readme).toMatch(new RegExp(`API for ${PLATFORMS[platform].title}\\s+on`));
    expect(readme).not.toMatch(/It is a template|make-it-yours|Copy the |--runtime NAME|\(on Workers\)/);
    const onWorkers = platform === 'workers';
    expect((readme + tree.read('AGENTS.md')).includes('workerd')).toBe(onWorkers);
    expect(readme.includes('bundles')).toBe(onWorkers || platform === 'lambda');
    expect(readme.includes('a preview')).toBe(platform !== 'node');
    const hasButton = onWorkers || platform === 'vercel';
    expect([readme, tree.read('.env.example')].map((text) => text.includes('button'))).toEqual([hasButton, hasButton]);
    const recipes = tree.read('docs/recipes.md');
    expect(recipes).not.toContain('a file like that'); // on Node, for Vercel
    expect(recipes.includes('/preview.yml')).toBe(tree.read('.github/workflows/preview.yml').includes('API_TOKEN'));
    const guides = ['AGENTS.md', 'docs/deploy.md', 'docs/recipes.md'].map(tree.read).join('\n');
    const words = { workers: /Worker|wrangler/, vercel: /Vercel/, lambda: /Lambda|AWS/, node: /npm start/ };
    expect(PLATFORM_NAMES.filter((name) => words[name].test(guides))).toEqual([platform]);
    const shared = ['.gitignore', 'tsconfig.json', 'package.json', 'scripts/measure-import.ts', 'scripts/smoke.ts']
      .concat('.vercelignore', 'src/server-transports.ts', 'src/routes/schemas.ts', 'test/local/dev.test.ts')
      .filter(tree.has);
    const ofOthers = {
      workers: /worker|wrangler/i,
      vercel: /vercel/i,
      lambda: /lambda/i,
      node: /'on node|functions\/node/,
    };
    const others = PLATFORM_NAMES.filter((name) => name !== platform);
    expect(shared.filter((file) => others.some((name) => ofOthers[name].test(tree.read(file))))).toEqual([]);
    const choice = tree.has('docs/driver-selection.md') ? tree.read('docs/driver-selection.md') : '';
    expect(choice.includes('\n- behind Hyperdrive;')).toBe(onWorkers && !bare);
    expect(choice.includes('Set `DATABASE_TRANSPORT=tcp`')).toBe(!onWorkers && !bare);
    if (bare) {
      expect(tree.read('src/middleware/request-log.ts')).not.toContain('/accounts');
      expect(recipes).not.toMatch(/\bnotes?\b|first-table|idempotency/i);
      expect(recipes).toContain('## Change and delete\n\nIn `src/routes/messages.ts`:');
      const withLedger = openTree(ROOT);
      initialise(withLedger, { name: 'my-app', platforms: [platform], bare: false, repository: undefined });
      const ofLedger = /^test\/(idempotency|ledger)\/|\/(typed-client|page|rules|transfers)\.test\.ts$/;
      const removed = withLedger.files().filter((file) => file.startsWith('test/') && !tree.has(file));
      expect(removed.filter((file) => !ofLedger.test(file))).toEqual([]);
    }

    const sources = texts.filter(([file]) => file.endsWith('.ts'));
    const imported = sources.flatMap(([file, text]) =>
      [...text.matchAll(/^(?:import|\}) .*\bfrom '(\.\.\/[^']+\.ts)';$/gm)].map(
        ([, to = '']) => [file, path.posix.join(path.posix.dirname(file), to)] as const,
      ),
    );
    expect(imported.length).toBeGreaterThan(100);
    expect(imported.filter(([, file]) => !tree.has(file))).toEqual([]);

    const parts = files.filter((file) => /^test\/(?!.*\.test\.ts$).*\.ts$/.test(file));
    const isUsed = (part: string) =>
      texts.some(
        ([file, text]) => file !== part && new RegExp(`[/']${path.basename(part, '.ts')}(\\.ts)?'`).test(text),
      );
    expect(parts.filter((part) => !isUsed(part))).toEqual([]);

    const counts = new Map<string, number>();
    for (const [word] of texts
      .map(([, text]) => text)
      .join('\n')
      .matchAll(/\w+/g))
      counts.set(word, (counts.get(word) ?? 0) + 1);
    const exported = sources.flatMap(([, text]) =>
      [...text.matchAll(/^export (?:async )?(?:const|function|class|interface|type) (\w+)/gm)].map(
        ([, name = '']) => name,
      ),
    );
    expect(exported.length).toBeGreaterThan(100);
    expect(exported.filter((name) => counts.get(name) === 1)).toEqual([]);

    const contract = {
      workers: 'test/workers/contract.test.ts',
      vercel: 'test/node/contract.test.ts', // it runs on Vercel's own tools alone
      lambda: 'test/lambda/contract.test.ts',
      node: 'test/node/server.test.ts',
    };
    expect(files.includes(contract[platform]) && tree.read(contract[platform])).toContain('describeContract(');

    const { scripts } = JSON.parse(tree.read('package.json')) as { scripts: Record<string, string> };
    const started = Object.values(scripts).flatMap((command) => command.match(/(?<=\bnode .*)\b[\w/-]+\.ts\b/g) ?? []);
    expect(started.includes('functions/node.ts')).toBe(platform === 'node');
    expect(started.filter((file) => !tree.has(file))).toEqual([]);
    const { scripts: all } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const removed = Object.keys(all).filter((name) => name.includes(':') && !(name in scripts));
    expect(texts.filter(([, text]) => removed.some((name) => text.includes(name))).map(([file]) => file)).toEqual([]);

    const workflows = texts.filter(([file]) => file.startsWith('.github/')).map(([, text]) => text);
    expect(workflows.join('').includes('id-token: write')).toBe(platform === 'lambda');
  });

  it.each([
    [['workers', 'lambda', 'node'] as const, 'workers lambda'],
    [['node'] as const, 'node'],
  ])('of %j, names in DEPLOY what a workflow deploys to', (platforms, names) => {
    const tree = openTree(ROOT);
    initialise(tree, { name: 'my-app', platforms, bare: false, repository: undefined });
    expect(tree.read('.github/workflows/deploy.yml')).toContain(`names ("${names}"; nowhere without it)`);
    expect(tree.read('docs/deploy.md')).toContain(`for instance \`${names}\``);
  });

  const init = (cwd: string, ...args: string[]) =>
    run(cwd, process.execPath, path.join(ROOT, 'scripts/init.ts'), ...args);

  it.each(['', 'My-App', '1app', 'my_app', 'my--app', 'app-', 'a'.repeat(51)])('refuses the name "%s"', (name) => {
    const { status, output } = init(ROOT, '--name', name, '--dry-run');
    expect(status).toBe(1);
    expect(output).toMatch(/--name must be 1 to 50 lower-case letters/);
  });

  it('refuses an unknown platform', () => {
    const { status, output } = init(ROOT, '--name', 'my-app', '--platforms', 'workers,deno', '--dry-run');
    expect(status).toBe(1);
    expect(output).toContain('unknown "deno": choose from');
  });

  it('refuses what git could not undo', () => {
    const clone = cloneTemplate();
    writeFileSync(path.join(clone, 'README.md'), 'changed');
    const { status, output } = init(clone, '--name', 'my-app');
    expect(status).toBe(1);
    expect(output).toContain('There are uncommitted changes');
    const { monorepo, project } = cloneIntoMonorepo();
    writeFileSync(path.join(monorepo, '.gitignore'), '*');
    git(monorepo, 'rm', '--quiet', '-r', '--cached', 'apps');
    commit(monorepo);
    const ignored = init(project, '--name', 'my-app', '--force');
    expect(ignored.status).toBe(1);
    expect(ignored.output).toContain('The git repository around this directory ignores it');
    const script = [path.join(ROOT, 'scripts/init.ts'), '--name', 'my-app', '--dry-run'];
    const german = { ...env, LC_ALL: 'C.UTF-8', LANGUAGE: 'de' }; // if git's translations are installed
    const nowhere = spawnSync(process.execPath, script, { cwd: newDirectory(), env: german, encoding: 'utf8' });
    expect(nowhere.status).toBe(1);
    expect(nowhere.stderr).toContain('This is not a git repository');
    const noGit = spawnSync(process.execPath, script, { cwd: ROOT, env: { PATH: newDirectory() }, encoding: 'utf8' });
    expect([noGit.status, noGit.stderr]).toEqual([1, 'This can be undone only with git: spawnSync git ENOENT\n']);
  });

  it('leaves alone what is not committed elsewhere in the same repository', () => {
    const { monorepo, project } = cloneIntoMonorepo();
    writeFileSync(path.join(project, 'migrations/0099_notes.sql'), '');
    commit(monorepo);
    writeFileSync(path.join(monorepo, 'README.md'), 'changed');
    const { output } = init(project, '--name', 'my-app', '--bare');
    expect(output).toContain('would be lost, or lack what they need: migrations/0099_notes.sql');
  });

  it('refuses to take out the example domain when there is another', () => {
    const clone = cloneTemplate();
    for (const file of ['migrations/0099_notes.sql', 'src/routes/notes.ts']) writeFileSync(path.join(clone, file), '');
    const { status, output } = init(clone, '--name', 'my-app', '--bare', '--dry-run', '--force');
    expect(status).toBe(1);
    expect(output).toContain('would be lost, or lack what they need: migrations/0099_notes.sql, src/routes/notes.ts');
  });

  it('says what it would do, and does nothing, with --dry-run', () => {
    const clone = cloneTemplate();
    const { status, output } = init(clone, '--name', 'my-app', '--bare', '--dry-run');
    expect(status, output).toBe(0);
    expect(output).toMatch(/^removed {2}src\/ledger\/schema\.ts$/m);
    expect(output).toMatch(/^changed {2}src\/create-app\.ts$/m);
    expect(git(clone, 'status', '--porcelain')).toBe('');
  });
});
