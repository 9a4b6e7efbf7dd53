import { styleText } from 'node:util';
import type { LoggedStatement } from '../local/follow-statements.ts';
import { printable } from '../src/middleware/request-log.ts';
import type { HostLog } from './fork-host.ts';

interface RequestLine {
  method: string;
  path: string;
  status: number;
  ms: number;
  transports: string[];
  roundTrips: number;
}

/** undefined_table, undefined_column: what schema.ts already has, before its migration is applied. */
const UNKNOWN = /^42(P01|703)$/;

/** Prints what the API logs: its JSON lines in a readable form, anything else as it is. */
export function printLog(log: HostLog): void {
  if (log.type === 'reloaded') {
    console.log(styleText('dim', 'reloaded'));
    return;
  }
  const line = parse(log.message);
  if (isRequest(line)) console.log(formatRequest(line));
  else if (line && 'error' in line) {
    console.error(styleText('red', JSON.stringify(line, null, 2).replaceAll('\\n', '\n')));
    const { code = '' } = { ...(line.error as { code?: string }) };
    if (UNKNOWN.test(code))
      console.error(styleText('yellow', 'Is it new in a schema.ts? npm run db:generate, then npm run db:migrate'));
  } else console.log(log.message);
}

/** Characters of a statement, and of its note: where thousands of rows are inserted, the beginning is enough. */
const MAX_PRINTED = 2_000;

/** Prints a statement where the requests are. */
export function printStatement({ text, note }: LoggedStatement): void {
  const [statement = '', comment] = [text, note].map((whole) =>
    whole.length > MAX_PRINTED ? `${whole.slice(0, MAX_PRINTED)} …` : whole,
  );
  const lines = (comment ? `${statement} -- ${comment}` : statement).trim().replaceAll('\t', '  ').split('\n');
  console.log(styleText('dim', lines.map((line) => `         ${printable(line)}`).join('\n')));
}

function formatRequest({ method, path, status, ms, transports, roundTrips }: RequestLine): string {
  const colour = status >= 500 ? 'red' : status >= 400 ? 'yellow' : 'green';
  const time = new Date().toTimeString().slice(0, 8);
  const trips = roundTrips === 1 ? '1 round trip' : `${roundTrips} round trips`;
  const cost = transports.length === 0 ? '' : `${transports.join('+')} ${trips}`;
  const duration = `${ms} ms`.padStart(7);
  return `${styleText('dim', time)} ${method.padEnd(6)} ${printable(path)} ${styleText(colour, String(status))} ${duration}  ${cost}`.trimEnd();
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** An application's own lines may also have some of these names. */
function isRequest(line: Partial<RequestLine> | undefined): line is RequestLine {
  return typeof line?.path === 'string' && typeof line.method === 'string' && Array.isArray(line.transports);
}
