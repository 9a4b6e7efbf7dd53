/** @throws {Error} when `part` is missing, or there more than once */
export function replaceOnce(text: string, part: string, by: string): string {
  if (text.split(part).length !== 2) throw new Error(`${part} is to be there once`);
  return text.replace(part, () => by);
}
