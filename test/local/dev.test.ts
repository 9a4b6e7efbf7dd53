import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { RUNTIMES } from '../../scripts/fork-host.ts';
import { describe, expect, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { PATIENCE } from '../database.ts';
import { DOT_ENV, makeData, ready, ROOT, startDev, untilGone } from './start-dev.ts';

/** What the log says of the request of each kind that is printed to try. */
const GOES_OVER: Record<string, string> = {
  'One-shot': 'http 1 round trip',
  Batch: 'http 1 round trip',
  Transaction: 'websocket 4 round trips',
  Session: 'websocket 3 round trips',
};

const data = await makeData();

/** On a busy machine the first answer may take longer than the route waits. */
async function untilReady(url: string): Promise<void> {
  await vi.waitFor(async () => expect((await fetch(`${url}/health/ready`)).status).toBe(200), PATIENCE);
}

describe.skipIf(process.platform === 'win32')('npm run dev', () => {
  const runtimes = Object.keys(RUNTIMES);
  const [first = '', ...others] = runtimes;

  it.each(runtimes)(
    'on %s serves the app, says how to use it, logs each request, and stops cleanly',
    async (runtime) => {
      const port = await anyFreePort();
      const dev = startDev(data, '--port', String(port), '--sql', ...(runtime === first ? [] : ['--runtime', runtime]));
      const url = await ready(dev);
      expect(url).toBe(`http://127.0.0.1:${port}`);
      // Only there: on Linux, this is an address of the machine, too, as those are by which others reach it.
      if (process.platform === 'linux') await expect(fetch(`http://127.0.0.2:${port}`)).rejects.toThrow('fetch failed');

      const examples = [...dev.output().matchAll(/^ {2}(\S+) +(curl .*)$/gm)];
      expect(examples).not.toEqual([]);
      for (const [, kind = '', curl = ''] of examples) {
        const answer = execFileSync('sh', ['-c', `${curl} -s -o /dev/null -w '%{http_code}'`], { encoding: 'utf8' });
        expect(answer).toMatch(/^20[01]$/);
        const { pathname } = new URL(/http:\S+/.exec(curl)?.[0] ?? '');
        const line = new RegExp(`^\\S+ (GET|POST) +${pathname} ${answer} +\\d+ ms {2}${GOES_OVER[kind]}$`, 'm');
        await vi.waitFor(() => expect(dev.output()).toMatch(line), PATIENCE);
      }
      await vi.waitFor(() => expect(dev.output()).toMatch(/^ {9}select .* -- \$1 = '/m), PATIENCE);

      dev.child.kill('SIGTERM');
      expect(await dev.exited).toBe(0);
      await untilGone(data, port);
      await expect(fetch(url)).rejects.toThrow('fetch failed');
    },
  );

  it.each(others.slice(-1))('on %s starts the API again when a file of it changes', async (runtime) => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port), '--runtime', runtime);
    const url = await ready(dev);
    const file = path.join(ROOT, 'src/create-app.ts');
    const untilReloaded = (times: number) =>
      vi.waitFor(() => expect(dev.output().match(/^reloaded$/gm)).toHaveLength(times), PATIENCE);
    // As some editors save it, and then as a formatter does.
    await copyFile(file, path.join(ROOT, 'create-app.ts~'));
    await rename(path.join(ROOT, 'create-app.ts~'), file);
    await untilReloaded(1);
    await utimes(file, new Date(), new Date());
    await untilReloaded(2);
    await untilReady(url);
    dev.child.kill('SIGTERM');
    expect(await dev.exited).toBe(0);
    await untilGone(data, port);
  });

  it('on node starts the API again beside a silent connection and a request that does not end, and says when it is gone', async () => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port), '--runtime', 'node');
    const url = await ready(dev);
    const silent = connect(port, '127.0.0.1');
    silent.on('error', () => {});
    await once(silent, 'connect');
    const token = /Token +(\S+)/.exec(dev.output())?.[1];
    const unfinished = connect(port, '127.0.0.1');
    unfinished.on('error', () => {});
    unfinished.write(
      `POST /accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n`,
    );
    await once(unfinished, 'data'); // it may continue
    const file = path.join(ROOT, 'src/create-app.ts');
    await utimes(file, new Date(), new Date());
    await vi.waitFor(() => expect(dev.output()).toMatch(/^reloaded$/m), PATIENCE);
    await untilReady(url);

    const started = execFileSync('ps', ['ax', '-o', 'pid=,ppid=,command='], { encoding: 'utf8' }).split('\n');
    const childOf = (parent: unknown, script: string) => {
      const child = started.find((line) => line.includes(script) && line.trim().split(/\s+/)[1] === String(parent));
      return Number.parseInt(child ?? '', 10);
    };
    process.kill(childOf(childOf(dev.child.pid, 'node-host.ts'), 'functions/node.ts'), 'SIGKILL');
    await vi.waitFor(() => expect(dev.output()).toContain('The API has ended.'), PATIENCE);
    dev.child.kill('SIGTERM');
    expect(await dev.exited).toBe(0);
    await untilGone(data, port);
  });

  it.each(others.slice(-1))(
    'on %s gives the app what .env says, less what it, or the shell, says about the database',
    async (runtime) => {
      const directory = await mkdtemp(path.join(data, 'environment-'));
      const print = `data:text/javascript,const{MINE:m,DATABASE_REPLICA_URL:d}=process.env;console.log([m,typeof(d)].join())`;
      const env = `\uFEFFMINE="of my own"\nDATABASE_REPLICA_URL=postgresql://a:b@nowhere.example/c\nNODE_OPTIONS=--import="${print}"\n${DOT_ENV}`;
      await writeFile(path.join(directory, '.env'), env);
      const port = await anyFreePort();
      const dev = startDev(directory, '--data', data, '--port', String(port), '--runtime', runtime);
      await ready(dev);
      expect(dev.output()).toMatch(/of my own,undefined/);
      expect(dev.output()).not.toContain(EXAMPLE_ENVIRONMENT['API_TOKEN']);
      dev.child.kill('SIGTERM');
      expect(await dev.exited).toBe(0);
      await untilGone(data, port);
      await rm(directory, { recursive: true });
    },
  );

  it.each(others.slice(-1))(
    'on %s with --remote serves the app from DATABASE_URL, and shows no password',
    async (runtime) => {
      const directory = await mkdtemp(path.join(data, 'remote-'));
      await writeFile(path.join(directory, '.env'), `${DOT_ENV}DATABASE_TRANSPORT=tcp\n`);
      const port = await anyFreePort();
      const dev = startDev(directory, '--port', String(port), '--runtime', runtime, '--remote');
      const url = await ready(dev);
      expect((await fetch(`${url}/health/ready`)).status).toBe(503);
      await vi.waitFor(() => expect(dev.output()).toMatch(/(ENOTFOUND|EAI_AGAIN) nowhere\.example/), PATIENCE);
      expect(dev.output()).toMatch(/^ {2}Database +nowhere\.example\/never \(DATABASE_URL\)$/m);
      dev.child.kill('SIGTERM');
      expect(await dev.exited).toBe(0);
      expect(dev.output()).not.toMatch(/nothing|PostgreSQL/);
      await rm(directory, { recursive: true });
    },
  );

  it('lets reads that may lag come from a replica, over the network that it is told to simulate', async () => {
    const port = await anyFreePort();
    const dev = startDev(
      data,
      '--port',
      String(port),
      '--runtime',
      `${runtimes.at(-1)}`,
      '--reset',
      '--replica',
      '--lag',
      '600s',
      '--rtt',
      '3',
      '--sql',
    );
    const url = await ready(dev);
    const [simulate = ''] = /http\S+\/simulate/.exec(dev.output()) ?? [];
    expect(await (await fetch(simulate)).json()).toMatchObject({ rtt: 3 });
    const token = /Token +(\S+)/.exec(dev.output())?.[1];
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
    const body = JSON.stringify({ name: 'Ada', currency: 'EUR' });
    const made = await fetch(`${url}/accounts`, { method: 'POST', headers, body });
    expect(made.status).toBe(201);
    const { id } = (await made.json()) as { id: string };
    const names = async (path: string) => (await fetch(`${url}${path}`, { headers })).text();
    expect(await names(`/accounts/${id}`)).toContain('Ada');
    expect(await names('/accounts')).toMatch(/"Alice"(?!.*"Ada")/s);
    const [inserted, read] = [/^ {9}insert .* -- \$1 = .*'Ada'/m, /^ {9}select .* from "accounts" order by /m];
    for (const statement of [inserted, read]) {
      await vi.waitFor(() => expect(dev.output()).toMatch(statement), PATIENCE);
    }
    dev.child.kill('SIGTERM');
    expect(await dev.exited).toBe(0);
    await untilGone(data, port);
  });

  it('serves the app from what stands in for PlanetScale', async () => {
    const port = await anyFreePort();
    const dev = startDev(data, '--port', String(port), '--provider', 'planetscale');
    await ready(dev);
    for (const curl of dev.output().match(/curl .*/g) ?? []) {
      const answer = execFileSync('sh', ['-c', `${curl} -s -o /dev/null -w '%{http_code}'`], { encoding: 'utf8' });
      expect(answer).toMatch(/^20[01]$/);
    }
    dev.child.kill('SIGTERM');
    expect(await dev.exited).toBe(0);
    await untilGone(data, port);
  });

  it.concurrent.each([
    [['--port', '0'], /--port must be a port/],
    [['--port', 'http'], /--port must be a port/],
    [['--provider', 'oracle'], /--provider must be neon or planetscale/],
    [['--runtime', 'deno'], new RegExp(`--runtime must be one of ${runtimes.join(', ')}`)],
    [['--nonsense'], /Unknown option '--nonsense'[\s\S]*--help/],
    [['--remote', '--reset'], /--reset .* cannot be combined with --remote/],
    [['--remote', '--rtt', '40'], /--remote uses no gateway/],
    [['--remote', '--gateway-port', '21999'], /--remote uses no gateway/],
    [['--remote', '--sql'], /--remote uses no gateway/],
    [['--lag', '2s'], /--lag needs --replica/],
    [['--control-plane-errors', '2'], /^--control-plane-errors must be a probability/m],
    [['--port', '15999', '--gateway-port', '15999'], /Port 15999 is already the port: .* --gateway-port/],
  ])('refuses %j in one line', async (options, message) => {
    const dev = startDev(data, ...options);
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toMatch(message);
    expect(dev.output()).not.toMatch(/^ {4}at /m);
  });

  it('shows its options', async () => {
    const dev = startDev(data, '--help');
    expect(await dev.exited).toBe(0);
    for (const option of [
      '--runtime',
      '--port',
      '--gateway-port',
      '--postgres-port',
      '--data',
      '--reset',
      '--remote',
      '--help',
    ]) {
      expect(dev.output()).toContain(option);
    }
  });
});
