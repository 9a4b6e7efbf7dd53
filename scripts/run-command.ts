import { styleText } from 'node:util';

/** Runs a command-line script: prints what it returns, or what went wrong in one line, and sets the exit code. */
export async function runCommand(command: () => Promise<string>): Promise<void> {
  try {
    console.log(await command());
  } catch (error) {
    console.error(styleText('red', error instanceof Error ? error.message : String(error)));
    process.exitCode = 1;
  }
}
