/** Without the lines that match. */
export const withoutLines = (pattern: RegExp) => (text: string) =>
  text
    .split('\n')
    .filter((line) => !pattern.test(line))
    .join('\n');

const indentOf = (line: string) => /^ */.exec(line)?.[0].length ?? 0;

/**
 * Without the block that begins on the first line that starts with `start`: the lines that are indented further, the one that
 * closes it, and the comment above. This relies on the formatter's indentation.
 * @throws {Error} when there is no such line
 */
export function withoutBlock(text: string, start: string): string {
  const lines = text.split('\n');
  let first = lines.findIndex((line) => line.trimStart().startsWith(start));
  const opening = lines[first];
  if (opening === undefined) throw new Error(`no line starts with ${start}`);
  const indent = indentOf(opening);
  let end = first + 1;
  while (end < lines.length && (lines[end] === '' || indentOf(lines[end] ?? '') > indent)) end++;
  if (/^ *[}\])]/.test(lines[end] ?? '') && indentOf(lines[end] ?? '') === indent) end++;
  else while (lines[end - 1] === '') end--;
  while (/^ *(\/\*\*|\*|\/\/)/.test(lines[first - 1] ?? '')) first--;
  if (lines[end] === '' && (lines[first - 1] ?? '') === '') end++;
  return [...lines.slice(0, first), ...lines.slice(end)].join('\n');
}

/** Without a section of Markdown, down to the next heading of its level or above. */
export function withoutSection(text: string, heading: string): string {
  const level = heading.indexOf(' ');
  const at = text.indexOf(`\n${heading}\n`);
  if (at === -1) throw new Error(`no heading ${heading}`);
  const next = new RegExp(`\n#{1,${level}} `).exec(text.slice(at + 1 + heading.length));
  return text.slice(0, at) + (next ? text.slice(at + 1 + heading.length + next.index) : '\n');
}

/**
 * Without what a document says about one subject only: sections whose heading ends with its name, paragraphs and items that
 * begin with `On` and the name or with the name in bold, rows that begin with it, and commands that have it as a comment.
 */
export const withoutSubject = (name: string) => (text: string) => {
  const headings = text.match(new RegExp(`^#+ .*\\b${name}$`, 'gm')) ?? [];
  return headings
    .reduce(withoutSection, text)
    .replaceAll(new RegExp(`^(- )?(On ${name}\\b|\\*\\*(\\w+ )?${name}\\*\\*).*\\n((?!- ).+\\n)*`, 'gm'), '')
    .replaceAll(new RegExp(`^(\\| ${name} .*|.* # ${name})\\n`, 'gm'), '');
};
