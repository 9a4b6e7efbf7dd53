import { randomBytes } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';

/** Writes a file that only its owner can read, unless it exists; returns what it then contains. If several try, one wins. */
export async function createOnce(file: string, content: string): Promise<string> {
  const whole = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(whole, content, { mode: 0o600 });
    await link(whole, file); // atomically: nobody ever reads half of it
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(whole, { force: true });
  }
  return readFile(file, 'utf8');
}
