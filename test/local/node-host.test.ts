import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import type { HostMessage } from '../../scripts/fork-host.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs this code in place of the API. @returns the first that is heard of it */
async function firstMessage(code: string): Promise<HostMessage> {
  const directory = await mkdtemp(path.join(tmpdir(), 'node-host-'));
  const entry = path.join(directory, 'entry.mjs');
  await writeFile(entry, code);
  const host = fork(path.join(ROOT, 'scripts/node-host.ts'), [path.relative(ROOT, entry)], { detached: true });
  const ended = once(host, 'exit');
  onTestFinished(async () => {
    host.disconnect();
    await ended;
    await rm(directory, { recursive: true });
  });
  host.send({ port: 0, inspectorPort: undefined, variables: {}, tcpUrl: '' });
  const [message] = (await once(host, 'message')) as [HostMessage];
  return message;
}

it('says that an API has ended which ends by itself while it loads', async () => {
  expect(await firstMessage('process.exit();')).toEqual({ type: 'failed', message: 'The API did not start.' });
});

it('says what an API writes to its standard error', async () => {
  expect(
    await firstMessage(`console.error('out of paper'); await new Promise((resolve) => setTimeout(resolve, 600_000));`),
  ).toEqual({ type: 'log', level: 'error', message: 'out of paper' });
});

it('says in the meantime that an API does not end loading', async () => {
  expect(await firstMessage('await new Promise((resolve) => setTimeout(resolve, 600_000));')).toMatchObject({
    type: 'log',
    message: expect.stringContaining('does not listen yet') as string,
  });
});
