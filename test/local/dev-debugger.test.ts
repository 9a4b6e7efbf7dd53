import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { anyFreePort } from '../../local/ports.ts';
import { RUNTIMES } from '../../scripts/fork-host.ts';
import { PATIENCE } from '../database.ts';
import { makeData, ready, startDev } from './start-dev.ts';

const data = await makeData();

/** A message of the Chrome DevTools protocol. */
interface Message {
  method?: string;
  params?: { url?: string };
}

/** What has the route: its own file, or the bundle, which has a source map. */
const FILE = /^file:.*\/(src\/routes\/health\.ts|worker\.js)$/;

const runtimes = Object.keys(RUNTIMES).filter((_, i, { length }) => i === 0 || i === length - 1);

it.skipIf(process.platform === 'win32').each(runtimes)('on %s a debugger can stop at a line', async (runtime) => {
  const inspectorPort = await anyFreePort();
  const ports = ['--port', String(await anyFreePort()), '--inspector-port', String(inspectorPort)];
  const url = await ready(startDev(data, '--runtime', runtime, ...ports));
  const list = await fetch(`http://127.0.0.1:${inspectorPort}/json/list`);
  // Only there: who reaches a debugger can run anything. On Linux, this is an address of the machine, too.
  if (process.platform === 'linux') {
    await expect(fetch(`http://127.0.0.2:${inspectorPort}/json/list`)).rejects.toThrow('fetch failed');
  }
  const [target] = (await list.json()) as [{ webSocketDebuggerUrl: string }];
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  const heard: Message[] = [];
  socket.on('message', (message: Buffer) => heard.push(JSON.parse(String(message)) as Message));
  await once(socket, 'open');
  const send = (id: number, method: string, params = {}) => socket.send(JSON.stringify({ id, method, params }));

  send(1, 'Debugger.enable');
  const script = await vi.waitFor(() => {
    const found = heard.find(
      ({ method, params }) => method === 'Debugger.scriptParsed' && FILE.test(params?.url ?? ''),
    );
    return found?.params?.url ?? expect.fail(`no script ${FILE}`);
  }, PATIENCE);

  const lines = (await readFile(fileURLToPath(script), 'utf8')).split('\n');
  const lineNumber = lines.findIndex((line) => /\.get\(["']\/live/.test(line));
  send(2, 'Debugger.setBreakpointByUrl', {
    url: script,
    lineNumber,
    columnNumber: lines[lineNumber]?.indexOf('c.json'),
  });
  await vi.waitFor(() => expect(heard).toContainEqual(expect.objectContaining({ id: 2 })), PATIENCE);
  const answer = fetch(`${url}/health/live`);
  await vi.waitFor(
    () => expect(heard).toContainEqual(expect.objectContaining({ method: 'Debugger.paused' })),
    PATIENCE,
  );
  send(3, 'Debugger.resume');
  expect((await answer).status).toBe(200);
  socket.terminate();
});
