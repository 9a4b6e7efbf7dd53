import { open, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import { followStatements, type LoggedStatement } from '../../local/follow-statements.ts';
import { PATIENCE } from '../database.ts';

it('finds what drivers send as one role, in a log that may be emptied meanwhile', async () => {
  const file = path.join(tmpdir(), `postgres-${process.pid}.log`);
  const log = await open(file, 'w');
  const write = (user: string, ...lines: string[]) =>
    log.write(lines.map((line) => `2026-11-30 05:13:31.123 GMT [42] ${user} ${line}\n`).join(''));
  await write('app', 'LOG:  execute <unnamed>: select 0');
  const found: LoggedStatement[] = [];
  const end = await followStatements(file, 'app', (statement) => found.push(statement));
  onTestFinished(async () => {
    await end();
    await log.close();
    await rm(file);
  });

  await write('app', 'LOG:  execute <unnamed>: begin ');
  await write('app', 'LOG:  statement: DISCARD ALL');
  await write('app_owner', 'LOG:  execute <unnamed>: select 1');
  const parameters = "DETAIL:  Parameters: $1 = 'a\r\n\tb\u2028', $2 = NULL";
  await write('app', 'LOG:  execute <unnamed>/C_1: select $1,\n\t $2', parameters);
  await write('app', 'ERROR:  no such column', 'HINT:  Perhaps another.', 'STATEMENT:  select nope');
  await vi.waitFor(() => expect(found).toHaveLength(3), PATIENCE);
  await truncate(file);
  await log.write('2026-11-30 05:13:32.123 GMT [42] app LOG:  execute <unnamed>: com');
  await sleep(50);
  await log.write('mit\n');
  await vi.waitFor(() => expect(found).toHaveLength(4), PATIENCE);
  expect(found).toEqual([
    { text: 'begin ', note: '' },
    { text: 'select $1,\n $2', note: "$1 = 'a\r\nb\u2028', $2 = NULL" },
    { text: 'select nope', note: 'no such column' },
    { text: 'commit', note: '' },
  ]);
});
