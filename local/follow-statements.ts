import { watch } from 'node:fs';
import { open } from 'node:fs/promises';

/** What PostgreSQL logs of a statement: `note` is its parameters, as in `$1 = '7', $2 = NULL`, or why it failed. */
export interface LoggedStatement {
  text: string;
  note: string;
}

/** Settings of a server whose log `followStatements` reads. Of a parameter, it logs the first bytes. */
export const LOG_STATEMENTS = {
  log_statement: 'all',
  log_line_prefix: '%m [%p] %u ',
  log_parameter_max_length: '200',
};

/**
 * Calls `onStatement` with each statement that drivers send as `role` from now on: in the extended protocol, unlike what the
 * gateway itself sends. One that fails while it runs comes twice.
 * @param file the server's log
 * @returns what ends it
 */
export async function followStatements(
  file: string,
  role: string,
  onStatement: (statement: LoggedStatement) => void,
): Promise<() => Promise<void>> {
  const line = new RegExp(
    String.raw`^\S+ \S+ \S+ \[\d+\] ${role} (LOG: {2}execute [^:]+|\w+): +(Parameters: )?([^]*)$`,
  );
  const log = await open(file);
  const decoder = new TextDecoder();
  let { size: position } = await log.stat();
  let unread = '';
  const read = async () => {
    const { size } = await log.stat();
    if (size <= position) return; // nothing new, or emptied by somebody: the server goes on where it was
    const { buffer } = await log.read({ buffer: Buffer.alloc(size - position), position });
    position = size;
    unread += decoder.decode(buffer, { stream: true });
    if (!unread.endsWith('\n')) return; // the rest is being written
    const statements: LoggedStatement[] = [];
    let error = '';
    for (const entry of unread.split(/\n(?!\t)/)) {
      const [, kind = '', isParameters, logged = ''] = line.exec(entry) ?? [];
      const text = logged.replaceAll('\n\t', '\n');
      const last = statements.at(-1);
      if (kind.startsWith('LOG: ')) statements.push({ text, note: '' });
      else if (isParameters && last) last.note = text;
      else if (kind === 'ERROR') error = text;
      else if (kind === 'STATEMENT') statements.push({ text, note: error });
    }
    unread = '';
    statements.forEach(onStatement);
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
