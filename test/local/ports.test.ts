import { rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { anyFreePort, choosePort } from '../../local/ports.ts';

it('a port that another process is about to listen on is in use, but not for ever', async () => {
  const port = await anyFreePort();
  const claim = path.join(tmpdir(), `npm-run-dev-port-${port}`);
  await writeFile(claim, String(process.ppid));
  try {
    await expect(choosePort('port', port, 0, () => {})).rejects.toThrow(`Port ${port} is in use`);
    await utimes(claim, 0, 0);
    expect(await choosePort('port', port, 0, () => {})).toBe(port);
  } finally {
    await rm(claim, { force: true });
  }
});
