import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const WORKFLOWS = fileURLToPath(new URL('../../.github/workflows/', import.meta.url));

/**
 * Runs a step of a workflow as GitHub does, in a directory of its own.
 * @param command what is in the step's commands, and in no other step's before it
 * @param standIns by name, what runs in the place of a command, in bash
 * @returns with what it has written for later steps
 */
export function runStep(
  file: string,
  command: string,
  standIns: Record<string, string>,
  env: Record<string, string> = {},
) {
  const { jobs } = parse(readFileSync(WORKFLOWS + file, 'utf8')) as {
    jobs: Record<string, { steps?: { run?: string }[] }>;
  };
  const steps = Object.values(jobs).flatMap((job) => job.steps ?? []);
  const run = steps.map((step) => step.run ?? '').find((text) => text.includes(command));
  if (run === undefined) throw new Error(`${file} has no step with "${command}".`);
  const directory = mkdtempSync(path.join(tmpdir(), 'step-'));
  try {
    for (const [name, script] of Object.entries(standIns)) {
      writeFileSync(path.join(directory, name), `#!/bin/bash\n${script}\n`);
      chmodSync(path.join(directory, name), 0o755);
    }
    const written = path.join(directory, 'written');
    writeFileSync(written, '');
    const files = { GITHUB_OUTPUT: written, GITHUB_ENV: written, GITHUB_STEP_SUMMARY: written, RUNNER_TEMP: directory };
    const PATH = `${directory}${path.delimiter}${process.env['PATH']}`;
    const { status, stdout, stderr } = spawnSync('bash', ['-e', '-c', run], {
      cwd: directory,
      env: { ...files, ...env, PATH },
      stdio: ['ignore', 'pipe', 'pipe'], // at a socket bash would read its user's .bashrc
      encoding: 'utf8',
    });
    return { status, stdout, stderr, written: readFileSync(written, 'utf8') };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
