import { type ParseArgsConfig, styleText } from 'node:util';
import { describeError } from './describe-error.ts';
import { readArguments } from './read-arguments.ts';

/**
 * Runs a command-line script: prints what it returns, or what went wrong, and sets the exit code.
 * @param help what `--help` prints instead
 * @param config for `parseArgs`; `strict: false` for a command that passes on its arguments
 */
export async function runCommand<T extends ParseArgsConfig>(
  help: string,
  config: T,
  command: (given: ReturnType<typeof readArguments<T>>) => Promise<string>,
): Promise<void> {
  try {
    const given = readArguments(help, config);
    console.log(given.values.help ? help : await command(given));
  } catch (error) {
    console.error(styleText('red', describeError(error)));
    process.exitCode = 1;
  }
}
