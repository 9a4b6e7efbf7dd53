import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { neon, neonConfig } from '@neondatabase/serverless';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { deletePostgres } from '../../local/postgres.ts';
import { PATIENCE } from '../database.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
let data: string;

beforeAll(async () => {
  data = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter gateway-')); // with a space
  neonConfig.fetchEndpoint = (host, port) => `http://${host}:${port}/sql`;
});

afterAll(async () => {
  await deletePostgres(path.join(data, 'replica'));
  await deletePostgres(data);
  await rm(data, { recursive: true, force: true });
});

async function start(...options: string[]) {
  return startAlone('--data', data, '--postgres-port', String(await anyFreePort()), ...options);
}

/** Without what is about the embedded server. */
async function startAlone(...options: string[]) {
  // Ports of its own: other files start things on the default ones, and on those next to them.
  const command = [process.execPath, 'scripts/gateway.ts', '--port', String(await anyFreePort()), ...options];
  const child = spawn('sh', ['-c', 'umask 077; exec "$@"', 'sh', ...command], {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: '1', PGSSLMODE: 'require', PGOPTIONS: '-c default_transaction_read_only=on' },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += String(chunk)));
  // Not 'exit', which comes before the last of what it has said.
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, output: () => text, exited };
}

async function ready(
  { child, output }: { child: ChildProcess; output: () => string },
  hostname = '127.0.0.1',
): Promise<void> {
  const last = new RegExp(`\\nready http://${hostname}:\\d+\\n$`);
  for (const end = Date.now() + 3 * PATIENCE; !last.test(output()) && Date.now() < end; await sleep(20)) {
    if (child.exitCode !== null) break;
  }
  expect(output()).toMatch(last);
}

/** Of servers on this file's data. */
function processes(): string[] {
  return execFileSync('ps', ['axww', '-o', 'stat,command'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => !line.startsWith('Z') && line.includes(data));
}

/** Resident now, or at most so far. Bytes. */
async function memory({ pid }: ChildProcess, what: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
}

const urlOf = (name: string, output: string) =>
  new RegExp(`^ +${name} +(postgresql:\\S+)$`, 'm').exec(output)?.[1] ?? '';

/** What the driver reads with the settings that the gateway prints: over HTTP, over a WebSocket, by a pool over HTTP. */
function asInAnotherProject(output: string, url: string): string {
  const [settings] = /^ *import \{ neonConfig \}[^]*(?=^ready)/m.exec(output) ?? [];
  const program = `${settings}
    import { neon, Pool } from '@neondatabase/serverless';
    const pool = new Pool({ connectionString: '${url}' });
    const [overHttp] = await neon('${url}').query('select 1 as one');
    const [overWebSocket] = (await pool.query('select 1 as one')).rows;
    neonConfig.poolQueryViaFetch = true;
    const [pooled] = (await pool.query('select 1 as one')).rows;
    console.log(overHttp.one, overWebSocket.one, pooled.one);
    await pool.end();`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: ROOT, encoding: 'utf8' });
}

describe.skipIf(process.platform === 'win32')('npm run gateway', () => {
  it('says what it starts, prints connection strings that work, a replica among them, and stops cleanly', async () => {
    const gateway = await start('--replica', '--lag', '10ms', '--rtt', '2');
    await ready(gateway);
    expect(gateway.output()).toMatch(/^Starting PostgreSQL, a replica and the gateway …$/m);
    const [direct, pooled, replica] = ['Direct', 'Pooled', 'Replica'].map((name) => urlOf(name, gateway.output()));
    for (const [url, expected] of [
      [direct, false],
      [pooled, false],
      [replica, true],
    ] as const) {
      expect(await neon(url ?? '')`select pg_is_in_recovery() as replica`).toEqual([{ replica: expected }]);
    }
    const control = /curl (http:\S+)\/simulate/.exec(gateway.output())?.[1];
    expect(await (await fetch(`${control}/simulate`)).json()).toMatchObject({ rtt: 2 });
    expect(asInAnotherProject(gateway.output(), pooled ?? '')).toBe('1 1 1\n');

    const second = await start();
    expect(await second.exited).toBe(1);
    expect(second.output()).toMatch(/Already running on this data/);

    gateway.child.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(processes()).toEqual([]);
  });

  it.each([
    ['PostgreSQL', [], '.'],
    ['its replica', ['--replica', '--provider', 'planetscale'], 'replica'],
  ])('ends, and says so, when %s does', async (_, options, folder) => {
    const gateway = await start(...options);
    await ready(gateway);
    const replica = urlOf('Replica', gateway.output());
    if (replica) expect(await neon(replica)`select pg_is_in_recovery() as replica`).toEqual([{ replica: true }]);
    expect(replica !== '').toBe(folder === 'replica');
    const lock = await readFile(path.join(data, folder, 'postgres/postmaster.pid'), 'utf8').catch(async () => {
      const elsewhere = await readFile(path.join(data, folder, 'postgres-data-path'), 'utf8'); // as root
      return readFile(path.join(elsewhere, 'postmaster.pid'), 'utf8');
    });
    process.kill(Number(lock.split('\n')[0]), 'SIGKILL');
    expect(await gateway.exited).toBe(1);
    expect(gateway.output()).toContain('PostgreSQL has ended unexpectedly');
  });

  it('keeps its data to itself after a session of PostgreSQL has crashed, and goes on', async () => {
    const gateway = await start();
    await ready(gateway);
    const sql = neon(urlOf('Direct', gateway.output()));
    const [row] = await sql`select pg_backend_pid() as pid`;
    process.kill(Number(row?.['pid']), 'SIGKILL');
    await vi.waitFor(async () => {
      // The server has ended that session, and so all of them.
      expect(await sql`select pg_backend_pid() as pid`).not.toEqual([row]);
    }, PATIENCE);
    const second = await start();
    expect(await second.exited).toBe(1);
    expect(second.output()).toMatch(/Already running on this data/);
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
    gateway.child.kill('SIGINT');
    expect(await gateway.exited).toBe(0);
  });

  it('leaves nothing behind when it is killed', async () => {
    const gateway = await start();
    await ready(gateway);
    gateway.child.kill('SIGKILL');
    await vi.waitFor(() => expect(processes()).toEqual([]), PATIENCE);
  });

  it('stands in front of another server, and does not say its password', async () => {
    const gateway = await startAlone('--upstream', inject('stack').superuser, '--provider', 'planetscale');
    await ready(gateway);
    const given = new URL(inject('stack').app);
    const url = urlOf('Direct', gateway.output())
      .replace('postgres.main:<password>', `app.main:${given.password}`)
      .replace('/postgres', '/app');
    expect(asInAnotherProject(gateway.output(), url)).toBe('1 1 1\n');
    expect(gateway.output()).not.toContain(new URL(inject('stack').superuser).password);
    gateway.child.kill('SIGINT');
    expect(await gateway.exited).toBe(0);
  });

  it('listens where it is told to, and says when it cannot reach the server behind it', async () => {
    const nobody = await anyFreePort();
    const gateway = await startAlone(
      '--upstream',
      `postgresql://app:secret@127.0.0.1:${nobody}/app`,
      '--host',
      'localhost',
    );
    await ready(gateway, 'localhost');
    expect(gateway.output()).toContain('cannot be reached yet: ECONNREFUSED');
    const url = urlOf('Direct', gateway.output()).replace('<password>', 'secret');
    expect(new URL(url).hostname).toBe('localhost');
    await expect(neon(url)`select 1`).rejects.toThrow('HTTP status 500');
    gateway.child.kill('SIGINT');
    expect(await gateway.exited).toBe(0);
  });

  it.skipIf(process.platform !== 'linux')('takes no more than three times the limit for an answer', async () => {
    const gateway = await startAlone('--upstream', inject('stack').superuser);
    await ready(gateway);
    const url = new URL(inject('stack').app);
    url.port = new URL(urlOf('Direct', gateway.output())).port;
    const sql = neon(url.href);
    const ask = (query: string) => sql.query(query).then(String, ({ message }: Error) => message);
    for (let i = 0; i < 50; i++) await ask('select 1');
    const limit = 10 * 1024 * 1024;
    for (const [query, tooLarge] of [
      [`select repeat('x', 9900000)`, false],
      [`select repeat(E'\\x01', 9000000)`, true], // each is \u0001 in JSON
      [`select array_agg(i::text) from generate_series(1, 900000) i`, false],
      [`select repeat('x', 1000) from generate_series(1, 100000)`, true],
    ] as const) {
      const peaks: number[] = [];
      // When rubbish is collected is V8's choice: once in three is proof enough that it can be.
      while (peaks.length < 3 && !peaks.some((peak) => peak < 3 * limit)) {
        await writeFile(`/proc/${gateway.child.pid}/clear_refs`, '5'); // forgets the peak: proc_pid_clear_refs(5)
        const before = await memory(gateway.child, 'VmRSS');
        expect((await ask(query)).includes('response is too large')).toBe(tooLarge);
        peaks.push((await memory(gateway.child, 'VmHWM')) - before);
      }
      expect(Math.min(...peaks)).toBeLessThan(3 * limit);
    }
    gateway.child.kill('SIGINT');
    expect(await gateway.exited).toBe(0);
  });

  it.concurrent.each([
    [['--port', '0'], /--port must be a port/],
    [['--drop', '2'], /drop must be a probability/],
    [['--rtt', '99999999999'], /--rtt must be a number from 0 to 2147483647/],
    [['--data', ''], /--data must name a directory/],
    [['--upstream', 'https://x'], /upstream must be a postgresql/],
    [['--upstream', 'postgresql://x/y', '--replica'], /--replica .* cannot be combined with --upstream/],
    [['--upstream', 'postgresql://x/y', '--data', 'd'], /--data .* cannot be combined with --upstream/],
    [
      ['--upstream', 'postgresql://x/y', '--postgres-port', '5'],
      /--postgres-port .* cannot be combined with --upstream/,
    ],
    [['--lag', '10ms'], /--lag needs --replica/],
    [['--nonsense'], /Unknown option '--nonsense'[\s\S]*--help/],
  ])('refuses %j in one line', async (options, text) => {
    const gateway = await startAlone(...options);
    expect(await gateway.exited).toBe(1);
    expect(gateway.output()).toMatch(text);
    expect(gateway.output()).not.toMatch(/^ {4}at /m);
  });
});
