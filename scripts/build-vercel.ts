import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked, run } from './install-locked.ts';
import { runCommand } from './run-command.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const TOOLS = path.join(ROOT, 'test/platforms');
const LINK = path.join(ROOT, '.vercel/project.json');

/** The link to an account's project, while another stands in for it; also if this is killed meanwhile. */
const SAVED = `${LINK}.saved`;

/** Stands in for the link to an account's project. What is installed here is not installed again. */
const NO_PROJECT = JSON.stringify({ projectId: 'prj_local', orgId: 'team_local', settings: { installCommand: '' } });

/**
 * Builds what Vercel would deploy, with its own command, offline and without an account.
 * @param output receives the Build Output (https://vercel.com/docs/build-output-api)
 */
export async function buildVercel(output: string): Promise<void> {
  installLocked(TOOLS);
  const configuration = await mkdtemp(path.join(tmpdir(), 'vercel-'));
  const hasLink = () => existsSync(LINK) && readFileSync(LINK, 'utf8') !== NO_PROJECT;
  if (hasLink()) await rename(LINK, SAVED);
  await mkdir(path.dirname(LINK), { recursive: true });
  await writeFile(LINK, NO_PROJECT);
  // Ctrl-C ends Vercel's command: the clean-up below has to run nevertheless.
  const goOn = () => {};
  process.on('SIGINT', goOn).on('SIGTERM', goOn);
  try {
    const vercel = path.join(TOOLS, 'node_modules/vercel/dist/vc.js');
    run(process.execPath, [vercel, 'build', '--yes', '--output', output, '--global-config', configuration], {
      cwd: ROOT,
      env: { VERCEL_TELEMETRY_DISABLED: '1' },
    });
  } finally {
    if (existsSync(SAVED)) await rename(SAVED, LINK);
    else if (!hasLink()) await rm(LINK, { force: true });
    process.off('SIGINT', goOn).off('SIGTERM', goOn);
    await rm(configuration, { recursive: true });
  }
}

const HELP = `Builds in .vercel/output what Vercel would deploy, with Vercel's own command. Needs no account.

Usage: npm run build:vercel
`;

if (import.meta.main) {
  await runCommand(HELP, {}, async () => {
    await buildVercel(path.join(ROOT, '.vercel/output'));
    return 'Built in .vercel/output, as "npx vercel deploy --prebuilt" takes it.';
  });
}
