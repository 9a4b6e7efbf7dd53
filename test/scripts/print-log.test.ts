import { stripVTControlCharacters } from 'node:util';
import { expect, it, vi } from 'vitest';
import { printLog, printStatement } from '../../scripts/print-log.ts';

it('prints a request, whose path cannot speak to the terminal', () => {
  const print = vi.spyOn(console, 'log').mockImplementation(() => {});
  const path = '/x\u001b]0;title\u0007\nGET /forged 200';
  const message = JSON.stringify({ method: 'GET', path, status: 404, ms: 1, transports: [], roundTrips: 0 });
  printLog({ type: 'log', level: 'log', message });
  const [[line] = []] = print.mock.calls as string[][];
  print.mockRestore();
  expect(stripVTControlCharacters(line ?? '')).toMatch(/ GET +\/x%1B\]0;title%07%0AGET \/forged 200 404 +1 ms$/);
});

it('prints a statement of many lines below each other, its beginning if it is long, and its note as it is', () => {
  const print = vi.spyOn(console, 'log').mockImplementation(() => {});
  printStatement({ text: 'begin ', note: '' });
  printStatement({ text: 'select\n\t$1', note: "$1 = '\u001b]0;title\u0007\nx'" });
  printStatement({ text: `insert ${'x'.repeat(3_000)}`, note: '' });
  const lines = print.mock.calls.map(([line]) => stripVTControlCharacters(String(line)));
  print.mockRestore();
  expect(lines).toEqual([
    '         begin',
    "         select\n           $1 -- $1 = '%1B]0;title%07\n         x'",
    `         insert ${'x'.repeat(1_993)} …`,
  ]);
});

it("prints an application's own line as it is, though it has some of a request's names", () => {
  const print = vi.spyOn(console, 'log').mockImplementation(() => {});
  const message = JSON.stringify({ method: 'GET', transport: 'http', roundTrips: 1 });
  printLog({ type: 'log', level: 'log', message });
  const { calls } = print.mock;
  print.mockRestore();
  expect(calls).toEqual([[message]]);
});

it.each([
  ['42P01', 'does not know the table', 1],
  ['42703', 'does not know the column', 1],
  ['42601', 'refuses the statement', 0],
])('says what a new table or column needs, where the database (%s) %s', (code, _, hints) => {
  const print = vi.spyOn(console, 'error').mockImplementation(() => {});
  printLog({ type: 'log', level: 'error', message: JSON.stringify({ level: 'error', error: { code } }) });
  const lines = print.mock.calls.map(([line]) => String(line));
  print.mockRestore();
  expect(lines.filter((line) => line.includes('npm run db:generate'))).toHaveLength(hints);
});
