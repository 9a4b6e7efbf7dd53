import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { buildVercel } from '../../scripts/build-vercel.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** What `npm run build:vercel` makes, where none of this repository's own files and packages are near. */
    vercelOutput: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(path.join(tmpdir(), 'edge-postgres-starter-vercel-'));
  const output = path.join(directory, 'output');
  await buildVercel(output);
  project.provide('vercelOutput', output);
  return () => rm(directory, { recursive: true, force: true });
}
