import path from 'node:path';
import { makeBare } from './bare.ts';
import { keepPlatforms, type PlatformName } from './platforms.ts';
import { withoutSection } from './text.ts';
import type { Tree } from './tree.ts';

const TEMPLATE = 'edge-postgres-starter';

/** What is only about the template: how it was measured and tested, other people's clients, and this script. */
const ONLY_TEMPLATE = [
  'bench',
  'docs/copying.md',
  'scripts/build-vercel.ts',
  'scripts/init',
  'scripts/init.ts',
  'scripts/install-locked.ts',
  'scripts/test-clients.ts',
  'scripts/test-platforms.ts',
  'test/conformance',
  'test/platforms',
  'test/scripts/install-locked.test.ts',
  'test/workers/recipes.test.ts', // tests docs/recipes.md on the files as they are here
];

export interface InitOptions {
  name: string;
  platforms: readonly PlatformName[];
  bare: boolean;
  /** The URL of the new repository, for the buttons in the README. */
  repository: string | undefined;
}

interface Package {
  name: string;
  description?: string;
  main?: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  allowScripts: Record<string, boolean>;
}

/** Turns the template into an application. The caller has to update package-lock.json and to reformat the files. */
export function initialise(tree: Tree, { name, platforms, bare, repository }: InitOptions): void {
  tree.remove(...ONLY_TEMPLATE);
  const gone = keepPlatforms(tree, platforms);
  if (bare) makeBare(tree);

  const manifest = JSON.parse(tree.read('package.json')) as Package;
  delete manifest.description;
  const scripts = [...gone.scripts, 'init', 'bench', 'test:clients', 'test:platforms', 'build:vercel'];
  for (const script of scripts) delete manifest.scripts[script];
  if (!tree.has('scripts/bundle-budgets.ts')) manifest.scripts['size'] = 'node scripts/size.ts';
  for (const dependency of gone.dependencies) {
    if (isImported(tree, dependency)) continue;
    delete manifest.dependencies[dependency];
    delete manifest.devDependencies[dependency];
    delete manifest.allowScripts[dependency];
  }
  tree.write('package.json', `${JSON.stringify(manifest, null, 2)}\n`);

  for (const file of ['tsconfig.json', '.oxlintrc.json', '.oxfmtrc.json', 'vitest.config.ts', '.github/dependabot.yml'])
    editConfiguration(tree, file);
  for (const file of [
    'README.md',
    'AGENTS.md',
    '.ci/run',
    ...tree.files().filter((file) => file.startsWith('docs/')),
  ]) {
    tree.write(file, withoutMissing(tree, file, manifest.scripts));
  }
  tree.edit('README.md', (text) =>
    ['## Make it yours', '## Copy the pattern'].reduce(withoutSection, text).replace(/It is a template:[^]*?\n\n/, ''),
  );
  // What these say in passing about the template's own measurements and tests.
  tree.edit('AGENTS.md', (text) => text.replace(', `bench/` or', ' or'));
  if (tree.has('docs/driver-selection.md')) {
    tree.edit('docs/driver-selection.md', (text) =>
      text
        .replace(/To use it in another project[^]*?say\s+how\.\s+/, '')
        .replace(/From `npm run bench` \([^)]*\)/, 'By the benchmark of the template')
        .replace(/ ?\n?\(bench\/[^)]*\)/, ''),
    );
  }
  tree.edit('docs/gateway.md', (text) =>
    bare
      ? withoutSection(text, '## How it is tested')
      : text.replace(/ `npm run test:clients` installs[^]*?with nothing in between\./, ''),
  );
  rename(tree, name, repository);
}

/** Replaces names and URLs; the licence still says who wrote what. */
function rename(tree: Tree, name: string, repository: string | undefined): void {
  for (const file of tree.files().filter((file) => !['LICENSE', 'package-lock.json'].includes(file))) {
    const text = tree.read(file);
    const home = `https://github.com/your-name/${TEMPLATE}`;
    const renamed = text.replaceAll(new RegExp(`${home}|${TEMPLATE}`, 'g'), (found) =>
      found === home ? (repository ?? `https://github.com/your-name/${name}`) : name,
    );
    if (renamed !== text) tree.write(file, renamed);
  }
}

function isImported(tree: Tree, dependency: string): boolean {
  const specifier = new RegExp(`\\b(from |import |import\\(|resolve\\()['"]${dependency}(/[^'"]*)?['"]`);
  return tree.files().some((file) => /\.(ts|mjs)$/.test(file) && specifier.test(tree.read(file)));
}

/** Without what names a folder that is gone. */
function editConfiguration(tree: Tree, file: string): void {
  const text = tree.read(file);
  const edited = text
    .replace(/,\n.*\n {2}"exclude": \["scripts\/init[^\n]*/, '')
    .replaceAll(/, ["'](scripts\/init[^"']*|bench|\/?test\/(platforms|conformance)[^"']*)["']/g, '')
    .replace(/ *\/\/ What needs the platforms' own tools[^]*?\n {6}\},\n/, '')
    .replace("'test/platforms/**', ", '');
  if (edited !== text) tree.write(file, edited);
}

/** Without the lines that are about a script that is gone, and without links to files that are gone. */
function withoutMissing(tree: Tree, file: string, scripts: Record<string, string>): string {
  const names = (line: string) => [...line.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name = '']) => name);
  const isMissing = (line: string) => names(line).some((name) => !(name in scripts));
  const isEntry = (line: string) => /^(\| | {4}|npm )/.test(line);
  const kept = tree
    .read(file)
    .split('\n')
    .filter((line) => !(isEntry(line) && isMissing(line)))
    .join('\n');
  return kept.replaceAll(/(?<!!)\[([^\]]+)\]\(([^):#]+)\)/g, (link, text: string, to: string) =>
    tree.has(path.posix.join(path.posix.dirname(file), to)) ? link : text,
  );
}
