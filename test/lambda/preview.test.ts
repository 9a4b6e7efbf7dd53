import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { runStep } from '../scripts/run-step.ts';

it.each([
  ['deployed', 'deploy:lambda', ['put-secret-value', 'describe-stacks', 'describe-stacks', 'npm run deploy:lambda']],
  ['deleted', 'delete-secret', ['describe-stacks', 'describe-stacks', 'delete-stack', 'delete-secret']],
])('is %s when the update is over that a run which was cut off has begun', (_, command, calls) => {
  const standIns = {
    aws: `echo "$2" >&2
      [[ $2 == describe-stacks ]] || exit 0
      [[ -e asked ]] && echo UPDATE_COMPLETE || echo UPDATE_COMPLETE_CLEANUP_IN_PROGRESS
      touch asked`,
    npm: 'echo "npm $1 $2" >&2',
    jq: 'echo {}',
    sleep: '',
  };
  const { status, stderr } = runStep('preview.yml', command, standIns, { NAME: 'app-pr-1' });
  expect([status, stderr.split('\n').slice(0, calls.length)]).toEqual([0, calls]);
});

it('is only deleted, at the end of a job that has deleted all else, when AWS has deleted its stack', async () => {
  const source = await readFile(new URL('../../.github/workflows/preview.yml', import.meta.url), 'utf8');
  const { jobs } = parse(source) as { jobs: Record<string, { steps: { run?: string }[] }> };
  const last = Object.values(jobs).map(({ steps }) => steps.at(-1)?.run);
  expect(last).toContain('aws cloudformation wait stack-delete-complete --stack-name "$NAME"');
});

it.each(['ROLLBACK_COMPLETE', 'DELETE_FAILED'])('is made anew where it is %s: it can only be deleted', (state) => {
  const standIns = {
    aws: `echo "$2" >&2; [[ $2 != describe-stacks ]] || echo ${state}`,
    npm: 'echo "npm $1 $2" >&2',
    jq: 'echo {}',
    sleep: '',
  };
  const { status, stderr } = runStep('preview.yml', 'deploy:lambda', standIns, { NAME: 'app-pr-1' });
  const calls = ['put-secret-value', 'describe-stacks', 'delete-stack', 'wait', 'npm run deploy:lambda'];
  expect([status, stderr.split('\n').slice(0, calls.length)]).toEqual([0, calls]);
});
