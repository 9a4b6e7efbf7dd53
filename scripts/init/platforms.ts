import { parseDocument, YAMLMap, YAMLSeq } from 'yaml';
import type { Tree } from './tree.ts';
import { withoutBlock, withoutLines, withoutSubject } from './text.ts';

interface Platform {
  /** Its name where the README first mentions it. */
  title: string;
  /** What documents call it, at the start of what is only about it. */
  called: string;
  /** Files and folders that are only about this platform. */
  paths: string[];
  scripts: string[];
  /** Those in package.json; they stay if another file imports them. */
  dependencies: string[];
  /** Lines to remove from shared files, each complete in itself. */
  lines: Record<string, RegExp>;
  /** What else has to be changed. */
  edit?: (tree: Tree) => void;
}

export const PLATFORMS = {
  workers: {
    title: 'Cloudflare Workers',
    called: 'Workers',
    paths: [
      'functions/worker.ts',
      'functions/worker-neon.ts',
      'functions/worker-hyperdrive.ts',
      'functions/cloudflare.d.ts',
      'wrangler.toml',
      'scripts/bundles/worker.ts',
      'scripts/source-lines.ts',
      'scripts/worker-host.ts',
      'test/db/worker-types.test.ts',
      'test/fast/worker.ts',
      'test/local/dev-workers.test.ts',
      'test/local/worker-host.test.ts',
      'test/local/driver.test.ts',
      'test/local/driver-node.ts',
      'test/local/driver-worker.ts',
      'test/local/driver.ts',
      'test/scripts/format.test.ts',
      'test/scripts/source-lines.test.ts',
      'test/workers',
    ],
    scripts: ['build', 'deploy:workers', 'deploy:workers:staging'],
    dependencies: ['wrangler', 'miniflare', 'workerd'],
    lines: {
      '.gitignore': /^\.(wrangler\/|dev\.vars)/,
      '.vercelignore': /^\.(wrangler\/|dev\.vars)/,
      'test/global-setup.ts': /worker/i,
      'scripts/fork-host.ts': /^ {2}workers: \[/,
      'scripts/bundle-budgets.ts': /worker/i,
      'README.md': /button\)\].*cloudflare/,
      'docs/driver-selection.md': /^- behind Hyperdrive;/,
      'docs/errors.md': /Hyperdrive/,
    },
    edit: (tree) => {
      const imports = /^import (\{ fileURLToPath \}|\{ bundleWorker|type \{ Target \})/;
      tree.edit('test/fast/client.test.ts', (text) =>
        withoutLines(imports)(withoutBlock(text, "describe('in workerd'")),
      );
      tree.edit('README.md', (text) =>
        text
          .replace(/, which runs in workerd, the runtime of\s+Cloudflare Workers\./, '.')
          .replace(/requests wait \(on Workers\) or\s+are refused/, 'requests are refused'),
      );
      tree.edit('AGENTS.md', (text) => text.replace(' and real workerd', ''));
      tree.edit('scripts/measure-import.ts', (text) =>
        withoutLines(/registerHooks \}|const ENVIRONMENT/)(withoutBlock(text, 'registerHooks(')),
      );
      tree.edit('.oxfmtrc.json', (text) => text.replace(', "worker-configuration.d.ts"', ''));
      tree.edit('.env.example', (text) => text.replace(/ A Worker's bundle [^.]*\./, ''));
      tree.edit('docs/gateway.md', (text) => text.replace(/ `test\/local\/driver\.test\.ts` runs[^]*?compares\./, ''));
    },
  },
  vercel: {
    title: 'Vercel Functions',
    called: 'Vercel',
    paths: [
      'functions/vercel.ts',
      'vercel.json',
      '.vercelignore',
      'scripts/bundle-vercel.ts',
      'scripts/bundles/vercel.ts',
      'scripts/serve-vercel.ts',
      'test/vercel',
    ],
    scripts: [],
    dependencies: ['@vercel/functions'],
    lines: {
      '.gitignore': /^\.vercel\//,
      'scripts/smoke.ts': /bypass/i,
      'test/scripts/smoke.test.ts': /bypass/i,
      'README.md': /vercel\.com\/button/,
      'scripts/bundle-budgets.ts': /vercel/i,
      'scripts/fork-host.ts': /^ {2}vercel: \[/,
    },
  },
  lambda: {
    title: 'AWS Lambda',
    called: 'Lambda',
    paths: [
      'functions/lambda.ts',
      'functions/lambda-stream.ts',
      'functions/lambda-app.ts',
      'functions/aws-secret.ts',
      'functions/template.yaml',
      'functions/samconfig.toml',
      'scripts/build-lambda.ts',
      'scripts/deploy-lambda.ts',
      'scripts/bundles/lambda.ts',
      'scripts/cold-start.ts',
      'scripts/function-url.ts',
      'scripts/serve-lambda.ts',
      'test/lambda',
    ],
    scripts: ['build:lambda', 'deploy:lambda', 'bench:cold-start'],
    dependencies: ['aws4fetch', '@types/aws-lambda', 'fflate'],
    lines: {
      'scripts/measure-import.ts': /awslambda/,
      'test/global-setup.ts': /lambda/i,
      'scripts/bundle-budgets.ts': /lambda/i,
      'scripts/fork-host.ts': /^ {2}lambda: \[/,
    },
  },
  node: {
    title: 'Node',
    called: 'Node',
    paths: ['functions/node.ts', 'Dockerfile', '.dockerignore', 'test/node/server.test.ts'],
    scripts: ['start'],
    dependencies: ['@hono/node-server'],
    lines: {
      'scripts/fork-host.ts': /^ {2}node: \[/,
    },
    edit: (tree) => {
      tree.edit('test/local/dev.test.ts', (text) =>
        withoutLines(/^import \{ (once|connect) \}/)(withoutBlock(text, "it('on node starts")),
      );
    },
  },
} satisfies Record<string, Platform>;

export type PlatformName = keyof typeof PLATFORMS;

export const PLATFORM_NAMES = Object.keys(PLATFORMS) as PlatformName[];

/** Keeps the platforms that are named: entries, tests, configuration, scripts, workflows, documentation. */
export function keepPlatforms(
  tree: Tree,
  kept: readonly PlatformName[],
): { scripts: string[]; dependencies: string[] } {
  const gone = PLATFORM_NAMES.filter((name) => !kept.includes(name));
  if (gone.length === 0) return { scripts: [], dependencies: [] };
  for (const name of gone) {
    const { called, paths, lines, edit }: Platform = PLATFORMS[name];
    tree.remove(...paths);
    edit?.(tree);
    for (const [file, pattern] of Object.entries(lines)) if (tree.has(file)) tree.edit(file, withoutLines(pattern));
    for (const file of ['README.md', 'docs/deploy.md', 'docs/recipes.md']) tree.edit(file, withoutSubject(called));
    tree.write('docs/driver-selection.md', withoutSubject(called)(tree.read('docs/driver-selection.md')));
    for (const file of tree.files().filter((file) => /^\.github\/workflows\/(deploy|preview)\.yml$/.test(file))) {
      const text = withoutPlatform(tree.read(file), name);
      // Only for a role in AWS: what does not need this permission should not have it.
      tree.write(file, name === 'lambda' ? text.replaceAll(/^ *id-token: write.*\n/gm, '') : text);
    }
  }
  // What the variable DEPLOY may name: there is no job for Node.
  const deployed = kept.filter((name) => name !== 'node').join(' ') || 'node';
  for (const file of ['docs/deploy.md', '.github/workflows/deploy.yml'].filter(tree.has)) {
    const text = tree.read(file);
    tree.write(file, text.replace(/(["`])workers (vercel )?lambda\1/, `$1${deployed}$1`));
  }
  const servers = kept.filter((name) => name !== 'workers').map((name) => PLATFORMS[name].called);
  tree.edit('README.md', (text) => {
    const named = text
      .replace(inWords(PLATFORM_NAMES.map(titleOf)), inWords(kept.map(titleOf)))
      .replace(
        '`DATABASE_TRANSPORT=tcp` (Vercel, Lambda, Node)',
        servers.length > 0 ? `\`DATABASE_TRANSPORT=tcp\` (${servers.join(', ')})` : 'Hyperdrive (`wrangler.toml`)',
      );
    return kept.length > 1 ? named : named.replace(/ `npm run dev -- --runtime NAME` serves[^.]*\./, '');
  });
  if (!kept.includes('workers') && !kept.includes('lambda')) {
    tree.edit('test/global-setup.ts', (text) => text.replace(/Promise\.all\(\[\s*(.*),\s*\]\)/, '$1'));
    tree.edit('README.md', (text) => text.replace(/ and against the bundles that would be deployed,[^.]*\./, '.'));
  }
  if (kept.every((name) => name === 'node')) {
    // Its workflows send no token anywhere.
    tree.edit('docs/recipes.md', (text) => text.replace(/; its name\s+goes beside that one in `[^`]*`/, ''));
    tree.edit('README.md', (text) =>
      text.replace(', and every bundle against its budgets', '').replace(/ and a preview for\s+every pull request/, ''),
    );
    tree.remove(
      'scripts/bundles',
      'scripts/bundle-budgets.ts',
      'scripts/measure-import.ts',
      'test/scripts/describe-bundle.ts',
    );
  }
  if (!kept.includes('workers') && !kept.includes('vercel')) {
    tree.edit('.env.example', (text) => text.replace(/ It is commented out here because[^.]*\./, ''));
  }
  if (!kept.includes('vercel') && !kept.includes('lambda')) {
    tree.remove('scripts/serve-locally.ts', 'scripts/bundles/bundle-for-node.ts');
  }
  if (!kept.includes('vercel') && !kept.includes('node')) tree.remove('test/node/start-server.ts');
  if (kept.every((name) => name === 'workers')) {
    tree.remove('scripts/node-host.ts', 'test/local/node-host.test.ts');
    // A Worker that is given this variable does not start.
    tree.edit('docs/driver-selection.md', (text) => text.replace('Set `DATABASE_TRANSPORT=tcp`. ', ''));
    tree.edit('README.md', (text) => text.replace(/requests wait \(on Workers\) or\s+are refused/, 'requests wait'));
  }
  return {
    scripts: gone.flatMap((name) => PLATFORMS[name].scripts),
    dependencies: gone.flatMap((name) => PLATFORMS[name].dependencies),
  };
}

const titleOf = (name: PlatformName) => PLATFORMS[name].title;

const inWords = (names: string[]) => names.join(', ').replace(/, ([^,]*)$/, ' and $1');

/** A workflow without the job that has the platform's name, and without the steps whose condition names it. */
function withoutPlatform(source: string, platform: string): string {
  const document = parseDocument(source);
  const jobs = document.get('jobs');
  if (!(jobs instanceof YAMLMap)) throw new Error('a workflow without jobs');
  jobs.delete(platform);
  for (const { value: job } of jobs.items) {
    const steps: unknown = job instanceof YAMLMap ? job.get('steps') : undefined;
    if (!(steps instanceof YAMLSeq)) continue;
    const isOthers = (step: unknown) => !(step instanceof YAMLMap && String(step.get('if')).includes(`'${platform}'`));
    steps.items = steps.items.filter(isOthers);
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}
