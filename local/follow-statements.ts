import { watch } from 'node:fs';
import { open } from 'node:fs/promises';

/** What PostgreSQL logs of a statement; `parameters` as in `$1 = '7', $2 = NULL`, empty if it has none. */
export interface LoggedStatement {
  text: string;
  parameters: string;
}

/** Settings of a server whose log `followStatements` reads. Of a parameter, it logs the first bytes. */
export const LOG_STATEMENTS = {
  log_statement: 'all',
  log_line_prefix: '%m [%p] %u ',
  log_parameter_max_length: '200',
};

/**
 * Calls `onStatement` with each statement that drivers send as `role` from now on: in the extended protocol, unlike what the
 * gateway itself sends.
 * @param file the server's log
 * @returns what ends it
 */
export async function followStatements(
  file: string,
  role: string,
  onStatement: (statement: LoggedStatement) => void,
): Promise<() => Promise<void>> {
  const entry = new RegExp(
    String.raw`^\S+ \S+ \S+ \[\d+\] ${role} LOG: {2}execute [^:]+: (?<text>.*(?:\n\t.*)*)\n` +
      String.raw`(?:\S+ \S+ \S+ \[\d+\] ${role} DETAIL: {2}Parameters: (?<parameters>.*(?:\n\t.*)*)\n)?`,
    'gm',
  );
  const log = await open(file);
  let { size: position } = await log.stat();
  const read = async () => {
    const { size } = await log.stat();
    if (size <= position) return; // nothing new, or emptied by somebody: the server goes on where it was
    const { buffer } = await log.read({ buffer: Buffer.alloc(size - position), position });
    position = size;
    for (const { groups } of buffer.toString().matchAll(entry)) {
      const { text = '', parameters = '' } = groups ?? {};
      onStatement({ text: text.replaceAll('\n\t', '\n'), parameters: parameters.replaceAll('\n\t', '\n') });
    }
  };
  let reading = Promise.resolve();
  const watcher = watch(file, () => {
    reading = reading.then(read);
  });
  return async () => {
    watcher.close();
    await reading;
    await log.close();
  };
}
