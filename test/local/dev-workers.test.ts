import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';
import { DOT_ENV, startDev, untilGone } from './start-dev.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter workers-'));
  await writeFile(path.join(directory, '.env'), `${DOT_ENV}DATABASE_TRANSPORT=tcp\n`);
});

afterEach(() => rm(directory, { recursive: true }));

describe.skipIf(process.platform === 'win32')('npm run dev in workerd', () => {
  it('says why an app does not start', async () => {
    const port = await anyFreePort();
    const dev = startDev(directory, '--port', String(port), '--remote');
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toContain('this deployment carries neon only');
    expect(dev.output()).toMatch(/at \S*src\/config\.ts:\d+:\d+ in parseConfig/);
    expect(dev.output()).toContain('The API did not start: it throws while it loads.');
    await untilGone(directory, port);
  });

  it.each(['XDG_CONFIG_HOME', 'TMPDIR'])('says that wrangler may not write in %s', async (name) => {
    const file = path.join(directory, '.env'); // below it nobody makes a directory, root neither
    vi.stubEnv(name, file);
    const dev = startDev(directory, '--port', String(await anyFreePort()), '--remote');
    vi.unstubAllEnvs();
    expect(await dev.exited).toBe(1);
    expect(dev.output()).toMatch(/The API did not start: ENOTDIR: .*mkdir/);
  });
});
