import { styleText } from 'node:util';

/**
 * Runs a command-line script: prints what it returns, or what went wrong in one line, and sets the exit code.
 * @param help what `--help` prints instead, for a command that reads no options itself
 */
export async function runCommand(command: () => Promise<string>, help?: string): Promise<void> {
  const wantsHelp = process.argv.includes('--help') || process.argv.includes('-h');
  try {
    console.log(help && wantsHelp ? help : await command());
  } catch (error) {
    console.error(styleText('red', error instanceof Error ? error.message : String(error)));
    process.exitCode = 1;
  }
}
