import { spawnSync } from 'node:child_process';
import { initialise } from './init/init.ts';
import { PLATFORM_NAMES, type PlatformName } from './init/platforms.ts';
import { openTree } from './init/tree.ts';
import { runCommand } from './run-command.ts';

const HELP = `Turns this template into an application, in place. Commit first: git can then show and undo it.

Usage: npm run init -- --name my-app [options]

  --name NAME         of the package, the Worker, the stack and the secret on AWS, and in the README
  --platforms LIST    keep only these of ${PLATFORM_NAMES.join(',')} (default all)
  --bare              remove the example domain, and leave one table and one route
  --repository URL    of the new repository, for the buttons in the README (default: that of the remote "origin")
  --dry-run           say what would be done, and do nothing
  --force             go on although there are uncommitted changes
`;

/** What npm, Cloudflare, CloudFormation and Secrets Manager allow, with room for the "-pr-1234" of a preview. */
const NAME = /^[a-z](?:[a-z0-9]|-(?=[a-z0-9])){0,49}$/;

const COMMIT = 'run "git init && git add --all && git commit" here first, so that this can be undone.';

const OPTIONS = {
  name: { type: 'string' },
  platforms: { type: 'string' },
  bare: { type: 'boolean', default: false },
  repository: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  force: { type: 'boolean', default: false },
} as const;

await runCommand(HELP, { options: OPTIONS }, async ({ values }) => {
  const { name = '', bare } = values;
  if (!NAME.test(name)) {
    throw new Error(
      `--name must be 1 to 50 lower-case letters, digits and single hyphens, beginning with a letter, not "${name}".`,
    );
  }
  const platforms = parsePlatforms(values.platforms);
  const root = process.cwd();
  if (git('status', '--porcelain', '.') !== '' && !values.force && !values['dry-run']) {
    throw new Error('There are uncommitted changes: commit them first, or add --force.');
  }

  const tree = openTree(root);
  if (!tree.has('package.json')) throw new Error(`The git repository around this directory ignores it: ${COMMIT}`);
  initialise(tree, { name, platforms, bare, repository: values.repository ?? origin() });
  const { removed, added, changed } = tree.changes();
  for (const file of removed) console.log(`removed  ${file}`);
  for (const file of added) console.log(`added    ${file}`);
  for (const file of [...changed, 'package-lock.json']) console.log(`changed  ${file}`);
  const summary = `${removed.length} files removed, ${added.length} added, ${changed.length + 1} changed.`;
  if (values['dry-run']) return `${summary} Nothing was done: --dry-run.`;
  tree.save();
  // The installed packages stay as they are: only the lockfile has to be updated, and what became shorter reformatted.
  npm('install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline');
  npm('exec', '--offline', '--', 'oxfmt');
  return `${summary} This is ${name} now. Next: npm ci && npm test, then commit.${bare ? ' If you have a local database from before: npm run dev -- --reset.' : ''}`;

  function npm(...args: string[]): void {
    const { status, stderr } = spawnSync('npm', args, {
      cwd: root,
      encoding: 'utf8',
      shell: process.platform === 'win32',
    });
    if (status !== 0) throw new Error(`npm ${args[0]} has failed:\n${stderr}`);
  }
});

function parsePlatforms(list: string | undefined): PlatformName[] {
  if (list === undefined) return PLATFORM_NAMES;
  const names = list.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !(PLATFORM_NAMES as string[]).includes(name));
  if (unknown.length > 0)
    throw new Error(`--platforms: unknown "${unknown.join(', ')}": choose from ${PLATFORM_NAMES.join(', ')}.`);
  return PLATFORM_NAMES.filter((name) => names.includes(name));
}

/** @throws {Error} outside a repository, with what to do; if git does not run, or refuses, with git's own message */
function git(...args: string[]): string {
  const env = { ...process.env, LC_ALL: 'C' }; // in English
  const { status, stdout, stderr, error } = spawnSync('git', args, { encoding: 'utf8', env });
  if (status === 0) return stdout.trim();
  const reason = error?.message ?? stderr.trim();
  throw new Error(
    reason.includes('not a git repository')
      ? `This is not a git repository: ${COMMIT}`
      : `This can be undone only with git: ${reason}`,
  );
}

/** The URL of the remote on GitHub, as for a browser; undefined if there is none. */
function origin(): string | undefined {
  const { stdout } = spawnSync('git', ['remote', 'get-url', 'origin'], { encoding: 'utf8' });
  const [, repository] = /github\.com[:/]([\w.-]+\/[\w.-]+?)(?:\.git)?\s*$/.exec(stdout ?? '') ?? [];
  return repository && `https://github.com/${repository}`;
}
