import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { RUNTIMES } from '../../scripts/fork-host.ts';
import { describe, expect, it } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { makeData, ready, ROOT, startDev, untilGone } from './start-dev.ts';

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

  it('ends, and says so, when PostgreSQL does', async () => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port), '--runtime', `${runtimes.at(-1)}`);
    await ready(dev);
    const [, elsewhere] = /server files in (.*)\)$/m.exec(dev.output()) ?? []; // as root
    const lock = await readFile(path.join(elsewhere ?? path.join(data, 'postgres'), 'postmaster.pid'), 'utf8');
    process.kill(Number.parseInt(lock, 10), 'SIGKILL');
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toContain('PostgreSQL has ended unexpectedly');
    await untilGone(data, port);
  });

  it('stops once and in order at Ctrl-C, which reaches npm and the script alike', async () => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port));
    await ready(dev);
    expect((await stat(path.join(data, 'running.json'))).mode & 0o777).toBe(0o600); // it holds passwords
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

describe.skipIf(process.platform === 'win32')('a command that starts things', () => {
  const run = (starts: string) => {
    const code = `import { untilTheEnd } from './scripts/lifetime.ts';
      setTimeout(() => {}, 60_000);
      untilTheEnd(async ({ started }) => { ${starts} });`;
    return spawn(process.execPath, ['--input-type=module', '--eval', code], { cwd: ROOT });
  };

  /** Runs one that starts these. @returns what it says, and its exit code, after the signal at its first line */
  const interrupt = async (signal: NodeJS.Signals, starts: string, again?: number) => {
    const child = run(starts);
    const exited = once(child, 'close');
    const said: string[] = [];
    let repeated: NodeJS.Timeout | undefined;
    createInterface(child.stdout).on('line', (line) => {
      if (said.push(line) > 1) return;
      child.kill(signal);
      if (again !== undefined) repeated = setInterval(() => child.kill(signal), again);
    });
    const [exitCode] = (await exited) as [number | null];
    clearInterval(repeated);
    return { said, exitCode };
  };

  it.each(['SIGTERM', 'SIGHUP'] as const)(
    'stops, at %s, what it is still starting too, the last started first, whatever does not stop well',
    async (signal) => {
      const { said, exitCode } = await interrupt(
        signal,
        `const { promise: stopping, resolve } = Promise.withResolvers();
        started(async () => console.log('first'));
        started(async () => { console.log('second'); setTimeout(resolve, 50); throw new Error('of the second'); });
        console.log('started');
        await stopping;
        started(async () => console.log('third'));
        console.log('goes on');`,
      );
      expect(said).toEqual(['started', 'second', 'first', 'third']);
      expect(exitCode).toBe(0);
    },
  );

  it.each([
    ['stdout', 'stderr'],
    ['stderr', 'stdout'],
  ] as const)('stops what it has started when nobody reads its %s any more', async (broken, other) => {
    const child = run(`started(async () => process.${other}.write('stopped'));
      setInterval(() => process.${broken}.write('.'), 20);`);
    child[broken].destroy();
    let said = '';
    child[other].on('data', (chunk) => (said += String(chunk)));
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(said).toBe('stopped');
  });

  it('ends at a second signal, some time after the first, although something does not stop', async () => {
    const starts = `started(() => new Promise(() => {})); console.log('started');`;
    expect(await interrupt('SIGINT', starts, 100)).toEqual({ said: ['started'], exitCode: 1 });
  });
});
