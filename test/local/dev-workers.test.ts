import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { deletePostgres } from '../../local/postgres.ts';
import { DOT_ENV, startDev, untilGone } from './start-dev.ts';

let data: string;

beforeAll(async () => {
  data = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter workers-'));
  await writeFile(path.join(data, '.env'), DOT_ENV);
});

afterAll(async () => {
  await deletePostgres(data);
  await rm(data, { recursive: true, force: true });
});

describe.skipIf(process.platform === 'win32')('npm run dev in workerd', () => {
  it('says why an app does not start', async () => {
    const directory = await mkdtemp(path.join(data, 'environment-'));
    await writeFile(path.join(directory, '.env'), `${DOT_ENV}DATABASE_TRANSPORT=tcp\n`);
    const port = await anyFreePort();
    const dev = startDev(directory, '--data', data, '--port', String(port), '--remote');
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toContain('this deployment carries neon only');
    expect(dev.output()).toMatch(/at \S*src\/config\.ts:\d+:\d+ in parseConfig/);
    expect(dev.output()).toContain('The API did not start: it throws while it loads.');
    await untilGone(data, port);
    await rm(directory, { recursive: true });
  });

  it.each(['XDG_CONFIG_HOME', 'TMPDIR'])('says that wrangler may not write in %s', async (name) => {
    const file = path.join(data, 'credentials.json'); // below it nobody makes a directory, root neither
    vi.stubEnv(name, file);
    const dev = startDev(data, '--port', String(await anyFreePort()));
    vi.unstubAllEnvs();
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toMatch(/The API did not start: ENOTDIR: .*mkdir/);
  });
});
