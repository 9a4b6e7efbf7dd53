import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { RUNTIMES } from '../../scripts/fork-host.ts';
import { describe, expect, it } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { makeData, ready, startDev, untilGone } from './start-dev.ts';

const data = await makeData();

describe.skipIf(process.platform === 'win32')('the lifetime of npm run dev', () => {
  const runtimes = Object.keys(RUNTIMES);
  const firstAndLast = runtimes.filter((_, i) => i === 0 || i === runtimes.length - 1);

  it.each(firstAndLast)('on %s leaves nothing behind when what runs the API is killed', async (runtime) => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port), '--runtime', runtime);
    const url = await ready(dev);
    const started = execFileSync('ps', ['ax', '-o', 'pid=,ppid=,command='], { encoding: 'utf8' }).split('\n');
    const host = started.find((line) => RegExp(`^ *\\d+ +${dev.child.pid} .*-host\\.ts`).test(line));
    process.kill(Number.parseInt(host ?? '', 10), 'SIGKILL');
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toContain('The API has ended unexpectedly.');
    await untilGone(data, port);
    await expect(fetch(url)).rejects.toThrow('fetch failed');
  });

  it('stops once and in order at Ctrl-C, which reaches npm and the script alike', async () => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port));
    await ready(dev);
    dev.child.kill('SIGINT');
    dev.child.kill('SIGINT');
    expect(await dev.exited).toBe(0);
    expect(await readdir(data)).not.toContain('running.json');
    await untilGone(data, port);
  });

  it.each(firstAndLast)('on %s leaves nothing behind when it is killed, and recovers', async (runtime) => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port), '--runtime', runtime);
    await ready(dev);
    dev.child.kill('SIGKILL');
    await untilGone(data, port);

    const again = startDev(data, '--port', String(port), '--reset');
    await ready(again);
    expect(again.output()).toContain(`Deleting the database in ${data}`);
    again.child.kill('SIGINT');
    expect(await again.exited).toBe(0);
    await untilGone(data, port);
  });
});
