import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rm, utimes, writeFile } from 'node:fs/promises';
import { createServer, Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import { anyFreePort, choosePort, TURN_PORT } from '../../local/ports.ts';
import { startListening } from '../../local/start-listening.ts';

/** A port, and the file that says whose it is. */
async function freePort() {
  const port = await anyFreePort();
  const claim = path.join(tmpdir(), `npm-run-dev-port-${port}`);
  onTestFinished(() => rm(claim, { force: true }));
  return { port, claim };
}

it('a port that another process is about to listen on is in use, but not for ever', async () => {
  const { port, claim } = await freePort();
  await writeFile(claim, String(process.ppid));
  await expect(choosePort('port', port, 0, () => {})).rejects.toThrow(`Port ${port} is in use`);
  await utimes(claim, 0, 0);
  expect(await choosePort('port', port, 0, () => {})).toBe(port);
});

it('a port that somebody listens on is in use, and that of a process that has ended is not', async () => {
  const other = createServer();
  const taken = await startListening(other);
  await expect(choosePort('port', taken, 0, () => {})).rejects.toThrow(`Port ${taken} is in use`);
  other.close();

  const { port, claim } = await freePort();
  await writeFile(claim, String(spawnSync(process.execPath, ['-v']).pid));
  expect(await choosePort('port', port, 0, () => {})).toBe(port);
});

it('takes a port behind the default where that is chosen already, and says so', async () => {
  const { port } = await freePort();
  const warnings: string[] = [];
  const choose = (name: string, requested?: number) =>
    choosePort(name, requested, port, (message) => warnings.push(message));
  expect([await choose('port'), warnings]).toEqual([port, []]);
  const next = await choose('pooler-port');
  expect(next).toBeGreaterThan(port);
  expect(next).toBeLessThan(port + 20);
  expect(warnings).toEqual([`The default pooler-port ${port} is in use: using ${next}.`]);
  await expect(choose('control-port', port)).rejects.toThrow(`Port ${port} is already the port`);
});

/** As another process that chooses a port, or any other that listens there. */
async function takeTurn() {
  const other = createServer();
  const listens = () =>
    once(other.listen({ port: TURN_PORT, host: '127.0.0.1', exclusive: true }), 'listening').then(
      () => true,
      () => false,
    );
  while (!(await listens())) await setTimeout(10);
  onTestFinished(() => void other.close());
  return other;
}

it('of two processes one chooses a port while the other waits: both would take what a third has left', async () => {
  const { port } = await freePort();
  const other = await takeTurn();
  const choosing = choosePort('port', port, 0, () => {});
  expect(await Promise.race([choosing, setTimeout(200, 'waits')])).toBe('waits');
  other.close();
  expect(await choosing).toBe(port);
});

it('waits once, and not for each port, where another program listens for good', async () => {
  const [first, second] = [await freePort(), await freePort()];
  await takeTurn();
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const choosing = choosePort('port', first.port, 0, () => {});
  vi.advanceTimersByTime(2_000);
  expect(await choosing).toBe(first.port);
  expect(await choosePort('port', second.port, 0, () => {})).toBe(second.port);
});

it('says why where nothing may listen, instead of looking for a port forever', async () => {
  vi.spyOn(Server.prototype, 'listen').mockImplementation(function (this: Server) {
    setImmediate(() => this.emit('error', new Error('listen EPERM: operation not permitted 127.0.0.1')));
    return this;
  });
  onTestFinished(() => void vi.restoreAllMocks());
  await expect(choosePort('port', undefined, 8787, () => {})).rejects.toThrow('EPERM');
});
