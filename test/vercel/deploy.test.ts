import { expect, it } from 'vitest';
import { runStep } from '../scripts/run-step.ts';

it.each([
  ['is checked at its address', 0, 'url=https://app.example\n'],
  // Vercel's command says the address first, and then whether it was deployed.
  ['stops the workflow when it fails', 1, ''],
])('%s', (_, code, output) => {
  const npx = `[[ $3 != deploy ]] || { echo https://app.example; exit ${code}; }`;
  const { status, written } = runStep('deploy.yml', 'vercel@64 deploy', { npx });
  expect([status, written]).toEqual([code, output]);
});
