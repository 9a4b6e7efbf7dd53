import { parseArgs, type ParseArgsConfig } from 'node:util';

/**
 * What the command line says, and whether it asks for help.
 * @param help names the command after `Usage:`
 * @throws {Error} for arguments that the command does not know, with a reference to its help
 */
export function readArguments<T extends ParseArgsConfig>(help: string, config: T) {
  const options = { ...config.options, help: { type: 'boolean', short: 'h' } } as const;
  try {
    const read = parseArgs({ ...config, options });
    return read as ReturnType<typeof parseArgs<T>> & { values: { help?: boolean } };
  } catch (error) {
    const [, command] = /Usage: (npm run \S+)/.exec(help) ?? [];
    throw new Error(`${(error as Error).message}\nSee ${command} -- --help`, { cause: error });
  }
}
