import { spawnSync } from 'node:child_process';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runStep } from './run-step.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const WORKFLOWS = `${ROOT}.github/workflows/`;

interface Step {
  run?: string;
  uses?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
}

interface Workflow {
  on: Record<string, { types?: string[] } | null>;
  permissions?: unknown;
  concurrency?: { group: string };
  jobs: Record<
    string,
    { if?: string; steps?: Step[]; uses?: string; needs?: string; permissions?: object; 'timeout-minutes'?: number }
  >;
}

const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { scripts: Record<string, string> };

/** The first versions for Node 24: https://github.blog/changelog/2025-09-19-deprecation-of-node-20-on-github-actions-runners/ */
const FOR_NODE_24: Record<string, number> = {
  'actions/checkout': 5,
  'actions/setup-node': 5,
  'aws-actions/configure-aws-credentials': 6,
  'aws-actions/setup-sam': 3,
};

describe.each(readdirSync(WORKFLOWS))('%s', (file) => {
  const source = readFileSync(WORKFLOWS + file, 'utf8');
  const { jobs, permissions, concurrency } = parse(source) as Workflow;
  const steps = Object.values(jobs).flatMap((job) => job.steps ?? []);
  const commands = steps.flatMap(({ run }) => (run === undefined ? [] : [run]));

  it('runs npm scripts and files that are there', () => {
    const names = commands.flatMap((run) =>
      [...run.matchAll(/npm (?:run )?(?!ci\b)([\w:-]+)/g)].map(([, name = '']) => name),
    );
    expect(names.filter((name) => !(name in scripts))).toEqual([]);
    const called = Object.values(jobs).flatMap(({ uses }) =>
      uses === undefined ? [] : [uses.replace('./.github/workflows/', '')],
    );
    expect(readdirSync(WORKFLOWS)).toEqual(expect.arrayContaining(called));
    const needed = Object.values(jobs).flatMap(({ needs = [] }) => needs);
    expect(Object.keys(jobs)).toEqual(expect.arrayContaining(needed));
  });

  it('gives its token no more than it needs, and no job more time', () => {
    expect(permissions).toEqual({ contents: 'read' });
    for (const [name, job] of Object.entries(jobs)) {
      expect(Object.entries(job.permissions ?? {}).toString(), name).toMatch(/^(contents,read(,id-token,write)?)?$/);
      if (job.uses === undefined) expect(job['timeout-minutes'], name).toBeGreaterThan(0);
    }
    if (file !== 'ci.yml') expect(concurrency?.group).toBeTruthy();
  });

  it('writes no expression into a command: values come through its environment', () => {
    expect(commands.filter((run) => run.includes('${{'))).toEqual([]);
  });

  it('installs packages where there is no secret', () => {
    const installing = steps.filter(({ run }) => run?.includes('npm ci'));
    expect(installing.map(({ run, env }) => [run, env])).toEqual(installing.map(() => ['npm ci', undefined]));
    // These leave keys in the environment of all steps behind them.
    const late = Object.values(jobs).flatMap(({ steps: all = [] }) => {
      const keys = all.findIndex(({ uses }) => uses?.startsWith('aws-actions/configure-aws-credentials@'));
      return keys === -1 ? [] : all.slice(keys).filter(({ run }) => run?.includes('npm ci'));
    });
    expect(late).toEqual([]);
  });

  it('pins every action, and has commands that a shell can read', () => {
    const actions = steps.flatMap(({ uses }) => (uses === undefined ? [] : [uses]));
    expect(actions.filter((action) => !/^[\w-]+\/[\w-]+@v\d+$/.test(action))).toEqual([]);
    const versions = actions.map((action) => action.split('@v') as [name: string, version: string]);
    expect(versions.filter(([name, version]) => Number(version) < (FOR_NODE_24[name] ?? 0))).toEqual([]);
    for (const run of commands) {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: run, encoding: 'utf8' });
      expect([status, stderr], run).toEqual([0, '']);
    }
  });
});

it('migrates over TCP, too, for a database that is reached over nothing else', () => {
  const { jobs } = parse(readFileSync(`${WORKFLOWS}deploy.yml`, 'utf8')) as Workflow;
  const migrate = jobs['migrate']?.steps?.find(({ run }) => run === 'npm run db:migrate');
  expect(migrate?.env?.['DATABASE_TRANSPORT']).toBe('${{ vars.DATABASE_TRANSPORT }}');
});

it('Dependabot updates what each lockfile locks', () => {
  const { updates } = parse(readFileSync(`${ROOT}.github/dependabot.yml`, 'utf8')) as {
    updates: { 'package-ecosystem': string; directories?: string[] }[];
  };
  const lockfiles = globSync('**/package-lock.json', {
    cwd: ROOT,
    exclude: (name) => /^(\..|node_modules$)/.test(name),
  });
  const npm = updates.find((update) => update['package-ecosystem'] === 'npm');
  expect(npm?.directories?.toSorted()).toEqual(
    lockfiles.map((file) => path.posix.join('/', path.dirname(file))).toSorted(),
  );
});

it('makes no preview, and cleans none up, for pull requests that GitHub gives no secrets: of forks, and Dependabot', () => {
  const { jobs } = parse(readFileSync(`${WORKFLOWS}preview.yml`, 'utf8')) as Workflow;
  for (const job of Object.values(jobs)) {
    expect(job.if).toContain('github.event.pull_request.head.repo.full_name == github.repository');
    expect(job.if).toContain(`github.event.pull_request.user.login != 'dependabot[bot]'`);
  }
});

it('cleans up after a pull request with conflicts, too, with the code of the default branch', () => {
  const { on, jobs } = parse(readFileSync(`${WORKFLOWS}preview.yml`, 'utf8')) as Workflow;
  // https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#pull_request
  expect(on['pull_request']?.types).not.toContain('closed');
  expect(on['pull_request_target']).toEqual({ types: ['closed'] });
  const { preview, 'clean-up': cleanUp } = jobs;
  expect(preview?.if).toContain(`github.event.action != 'closed'`);
  expect(cleanUp?.if).toContain(`github.event.action == 'closed'`);
  const checkouts = cleanUp?.steps?.filter(({ uses }) => uses?.startsWith('actions/checkout@')) ?? [];
  expect(checkouts.map(({ with: options }) => options)).toEqual([undefined]);
});

describe("a preview's branch of a database at Neon", () => {
  const secrets = {
    DATABASE_URL: 'postgresql://app:a%25b@ep-main-pooler.aws.neon.tech/app?sslmode=require',
    DATABASE_OWNER_URL: 'postgresql://owner:secret@ep-main.aws.neon.tech/app',
  };
  const make = (HOST: string, POOLED_HOST: string) =>
    runStep('preview.yml', 'POOLED_HOST', {}, { ...secrets, HOST, POOLED_HOST });

  it('is what the steps after it are given', () => {
    const { status, written, stdout } = make('ep-branch.aws.neon.tech', 'ep-branch-pooler.aws.neon.tech');
    expect(status).toBe(0);
    const lines = written.trim().split('\n');
    expect(lines).toEqual([
      'DATABASE_URL=postgresql://app:a%25b@ep-branch-pooler.aws.neon.tech/app?sslmode=require',
      'DATABASE_URL_UNPOOLED=postgresql://app:a%25b@ep-branch.aws.neon.tech/app?sslmode=require',
      'DATABASE_OWNER_URL=postgresql://owner:secret@ep-branch.aws.neon.tech/app',
    ]);
    // Of what a command to GitHub says, %25 is a percent sign.
    const masked = stdout
      .trim()
      .split('\n')
      .map((line) => line.replace('::add-mask::', '').replaceAll('%25', '%'));
    expect(masked).toEqual(lines.map((line) => line.replace(/^\w+=/, '')));
  });

  it.each(['', 'no host'])('is not the one of production where its host is "%s"', (host) => {
    const { status, written } = make(host, host);
    expect([status, written]).toEqual([1, '']);
  });

  it('brings no password into the log, which shows the environment of each step', () => {
    const source = readFileSync(`${WORKFLOWS}preview.yml`, 'utf8');
    expect(source.match(/steps\.neon\.outputs\.\w+/g)).toEqual([
      'steps.neon.outputs.db_host',
      'steps.neon.outputs.db_host_pooled',
    ]);
  });
});
