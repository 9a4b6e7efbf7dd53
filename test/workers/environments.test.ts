import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { json, text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { experimental_readRawConfig, unstable_readConfig } from 'wrangler';
import { startListening } from '../../local/start-listening.ts';
import { runStep } from '../scripts/run-step.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Of an application in production: at a domain of its own, with jobs, and all switches on. */
const PRODUCTION = {
  routes: [{ pattern: 'api.example.com', custom_domain: true }],
  workers_dev: false,
  triggers: { crons: ['0 3 * * *'] },
};

let directory: string;
let config: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'environments-'));
  const switches = path.join(directory, 'switches.toml');
  await writeFile(switches, (await readFile(`${ROOT}wrangler.toml`, 'utf8')).replaceAll(/^#(?=\S)/gm, ''));
  config = path.join(directory, 'wrangler.jsonc');
  const { rawConfig } = experimental_readRawConfig({ config: switches });
  await writeFile(config, JSON.stringify({ ...rawConfig, ...PRODUCTION }));
});
afterAll(() => rm(directory, { recursive: true }));

/** For wrangler, with this in Cloudflare's place. */
const withAccountAt = (port: number) => ({
  ...process.env,
  CLOUDFLARE_ACCOUNT_ID: 'account',
  CLOUDFLARE_API_TOKEN: 'token',
  CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${port}`,
  CI: 'true', // asks nothing
  WRANGLER_WRITE_LOGS: 'false',
  WRANGLER_SEND_METRICS: 'false',
});

const read = (env?: string) => unstable_readConfig({ config, env });

it.each(['staging', 'preview'])('has %s take nothing over that leads to production', (env) => {
  expect(read().routes).toHaveLength(1);
  expect(read(env)).toMatchObject({ routes: [], workers_dev: true, preview_urls: false, placement: read().placement });
});

it('deploys previews to no database but that of their branch, and without the jobs', async () => {
  expect(read().hyperdrive).toHaveLength(1);
  expect(read('preview')).toMatchObject({ hyperdrive: [], triggers: { crons: [] }, secrets: read().secrets });
  const workflow = await readFile(`${ROOT}.github/workflows/preview.yml`, 'utf8');
  expect(workflow.match(/wrangler deploy .*/g)).toEqual([expect.stringContaining(' --env=preview --name "$NAME" ')]);
  expect(workflow).not.toContain('npm run deploy:workers');
});

it('names the command for a Hyperdrive that reads what was just written, over connections of its own', async () => {
  const created: unknown[] = [];
  const create = async (request: IncomingMessage, response: ServerResponse) => {
    const result = await json(request);
    created.push([request.url, result]);
    response.end(JSON.stringify({ success: true, errors: [], messages: [], result }));
  };
  const cloudflare = createServer((request, response) => void create(request, response));
  const port = await startListening(cloudflare);
  const [, command = ''] =
    /`npx (wrangler hyperdrive create [^`]*)`/.exec(await readFile(`${ROOT}wrangler.toml`, 'utf8')) ?? [];
  const url = 'postgresql://app:secret@ep-name.region.aws.neon.tech/main';
  await promisify(execFile)('bash', ['-c', command], {
    cwd: directory,
    env: { ...withAccountAt(port), DATABASE_URL_UNPOOLED: url },
  });
  cloudflare.close();
  const origin = expect.objectContaining({
    host: 'ep-name.region.aws.neon.tech',
    port: 5432,
    database: 'main',
    user: 'app',
  });
  const described = expect.objectContaining({ name: 'NAME', origin, caching: { disabled: true } });
  expect(created).toEqual([['/accounts/account/hyperdrive/configs', described]]);
});

it('names the command for secrets that takes them from the file, whatever .env and the shell say', async () => {
  const texts = await Promise.all(
    ['README.md', 'docs/deploy.md', 'wrangler.toml'].map((file) => readFile(ROOT + file, 'utf8')),
  );
  const commands = texts.map((document) => /npm run deploy:workers -- (.*secrets-file .*)/.exec(document)?.[1]);
  expect(new Set(commands).size).toBe(1);
  let uploaded = '';
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request);
    if (request.method !== 'GET') uploaded += body;
    const result = { default_environment: { environment: 'production', script: {} }, deployments: [], bindings: [] };
    response.end(JSON.stringify({ success: true, errors: [], messages: [], result }));
  };
  const cloudflare = createServer((request, response) => void receive(request, response));
  const port = await startListening(cloudflare);
  const project = path.join(directory, 'secrets');
  await mkdir(project);
  await Promise.all(
    Object.entries({
      'worker.js': 'export default { fetch: () => new Response() };',
      'wrangler.jsonc': JSON.stringify({ name: 'secrets', main: 'worker.js', compatibility_date: '2026-10-23' }),
      '.env': 'API_TOKEN=of-the-laptop',
      'secret.json': JSON.stringify({ API_TOKEN: 'of-production$NAME' }),
    }).map(([name, contents]) => writeFile(path.join(project, name), contents)),
  );
  // It fails once it has uploaded everything: nothing here answers as Cloudflare does.
  await promisify(execFile)('bash', ['-c', `wrangler deploy --env= ${commands[0]}`], {
    cwd: project,
    env: { ...withAccountAt(port), API_TOKEN: 'of-the-shell' },
  }).catch(() => {});
  cloudflare.close();
  expect(uploaded).toContain('of-production$NAME');
  expect(uploaded).not.toMatch(/of-the-(laptop|shell)/);
});

it('asks who deploys by a button for what it needs, and not for the owner of the tables', async () => {
  // https://developers.cloudflare.com/workers/platform/deploy-buttons/: for all in .env.example that is not commented out.
  const asked = (await readFile(`${ROOT}.env.example`, 'utf8')).match(/^\w+(?==)/gm);
  expect(asked).toEqual(read().secrets?.required);
});

it.skipIf(spawnSync('jq', ['--version']).status !== 0).each([
  ['https://app.account.workers.dev', 'https://app.account.workers.dev'],
  ['api.example.com (custom domain)', 'https://api.example.com'],
  ['api.example.com/* (zone name: example.com)', 'https://api.example.com'],
])('is checked at the address that wrangler calls %s', async (target, url) => {
  const lines = [{ type: 'wrangler-session' }, { type: 'deploy', targets: [target, 'schedule: 0 3 * * *'] }];
  await writeFile(path.join(directory, 'wrangler.json'), lines.map((line) => JSON.stringify(line)).join('\n'));
  const { stdout } = runStep('deploy.yml', 'wrangler.json', { npm: 'echo "$@"' }, { RUNNER_TEMP: directory });
  expect(stdout.trim()).toBe(`run smoke -- ${url}`);
});
