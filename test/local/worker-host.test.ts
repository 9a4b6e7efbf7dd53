import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { anyFreePort } from '../../local/ports.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const WORKER = `export default { fetch: (_, env) => Response.json(env) };`;

/** Requires what an application with a replica adds. */
const CONFIGURATION = `name = "app"
main = "worker.js"
compatibility_date = "2026-10-23"
[secrets]
required = ["DATABASE_URL", "DATABASE_REPLICA_URL", "DATABASE_URL_UNPOOLED"]
`;

it('gives a Worker the variables of npm run dev alone: others in .env and the shell lead to another database', async () => {
  const project = await mkdtemp(path.join(tmpdir(), 'worker-host-'));
  for (const folder of ['scripts', 'src'])
    await cp(path.join(ROOT, folder), path.join(project, folder), { recursive: true });
  await symlink(path.join(ROOT, 'node_modules'), path.join(project, 'node_modules'), 'junction');
  const files = { 'worker.js': WORKER, 'wrangler.toml': CONFIGURATION, '.env': 'DATABASE_REPLICA_URL=of-dot-env\n' };
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(project, name), content);

  const env = { ...process.env, DATABASE_URL_UNPOOLED: 'of-the-shell' };
  const host = fork(path.join(project, 'scripts/worker-host.ts'), { cwd: project, env, detached: true });
  const ended = once(host, 'exit');
  onTestFinished(async () => {
    host.disconnect();
    await ended;
    await rm(project, { recursive: true });
  });
  const port = await anyFreePort();
  const variables = { DATABASE_URL: 'local' };
  host.send({ port, inspectorPort: undefined, variables, tcpUrl: '' });
  expect(await once(host, 'message')).toEqual([{ type: 'ready' }, undefined]);
  expect(await (await fetch(`http://127.0.0.1:${port}`)).json()).toEqual(variables);
});
