import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { unstable_readConfig } from 'wrangler';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Of an application in production: at a domain of its own, with jobs, and all switches on. */
const PRODUCTION = `
routes = [{ pattern = "api.example.com", custom_domain = true }]
workers_dev = false
triggers = { crons = ["0 3 * * *"] }
`;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'environments-'));
  const switches = (await readFile(`${ROOT}wrangler.toml`, 'utf8')).replaceAll(/^#(?=\S)/gm, '');
  await writeFile(path.join(directory, 'wrangler.toml'), switches.replace(/^(?=minify)/m, PRODUCTION));
});
afterAll(() => rm(directory, { recursive: true }));

const read = (env?: string) => unstable_readConfig({ config: path.join(directory, 'wrangler.toml'), env });

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

it('asks who deploys by a button for what it needs, and not for the owner of the tables', async () => {
  // https://developers.cloudflare.com/workers/platform/deploy-buttons/: for all in .env.example that is not commented out.
  const asked = (await readFile(`${ROOT}.env.example`, 'utf8')).match(/^\w+(?==)/gm);
  expect(asked).toEqual(read().secrets?.required);
});
