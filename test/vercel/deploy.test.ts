import { expect, it } from 'vitest';
import { runStep } from '../scripts/run-step.ts';

it.each([
  ['is checked at its address', 0, 'url=https://app.example\n'],
  // Vercel's command says the address first, and then whether it was deployed.
  ['stops the workflow when it fails', 1, ''],
])('%s', (_, code, output) => {
  const npx = `[[ $* != *" deploy "* ]] || { echo https://app.example; exit ${code}; }`;
  const { status, written } = runStep('deploy.yml', 'vercel deploy', { npx });
  expect([status, written]).toEqual([code, output]);
});

it.each(['deploy.yml', 'preview.yml'])(
  "%s gives its token to no version of Vercel's command of the last week",
  (file) => {
    const npx = 'echo "npx $*" >> "$GITHUB_STEP_SUMMARY"; echo https://app.example';
    const env = { VERCEL_TOKEN: 'token', DATABASE_URL: '', DATABASE_URL_UNPOOLED: '', API_TOKEN: '' };
    const { status, written } = runStep(file, 'vercel deploy', { npx, npm: '', date: 'echo "$*"' }, env);
    const commands = written.split('\n').filter((line) => line.startsWith('npx '));
    expect([status, commands.length]).toEqual([0, 3]);
    for (const command of commands)
      expect(command).toMatch(/^npx --yes --before=-d 7 days ago -I vercel@64 .* --token=token$/);
  },
);
