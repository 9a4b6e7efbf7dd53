import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

interface Workflow {
  jobs: Record<string, { steps: { run?: string }[] }>;
}

it('has all addresses of its branch: those of the project lead elsewhere', async () => {
  const workflow = await readFile(
    fileURLToPath(new URL('../../.github/workflows/preview.yml', import.meta.url)),
    'utf8',
  );
  const { jobs } = parse(workflow) as Workflow;
  const commands = Object.values(jobs).flatMap(({ steps }) => steps.map(({ run = '' }) => run));
  const [deploy] = commands.filter((run) => /\bvercel\S* deploy\b/.test(run));
  expect(deploy).toContain('--env DATABASE_REPLICA_URL="$DATABASE_URL"');
  for (const name of ['DATABASE_URL', 'DATABASE_URL_UNPOOLED']) {
    expect(deploy).toContain(`--env ${name}="$${name}"`);
    // Written for each provider that makes branches.
    expect(commands.filter((run) => run.includes(`${name}=%s`))).toHaveLength(2);
  }
});
