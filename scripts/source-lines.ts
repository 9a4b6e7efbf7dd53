import { existsSync, readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** A place in a bundle: by the bundle's URL, or only by the name of its file. */
const PLACE = /(file:\/\/\S+?\.js|(?<= at )[\w-]+\.js):(\d+):(\d+)/g;

/**
 * Replaces the lines of a bundle in an error's text by those of the source, if the bundle has a source map next to it.
 * @param findUnnamed finds the bundle that is meant if only the name of its file is given
 */
export function nameSourceLines(text: string, findUnnamed?: () => string | undefined): string {
  const maps = new Map<string, SourceMap | undefined>();
  const sourceOf = (name: string, line: string, column: string) => {
    const bundle = name.startsWith('file:') ? fileURLToPath(name) : (findUnnamed?.() ?? name);
    if (!maps.has(bundle)) maps.set(bundle, readMap(`${bundle}.map`));
    const found = maps.get(bundle)?.findEntry(Number(line) - 1, Number(column) - 1);
    if (!found || !('originalSource' in found)) return undefined;
    const file = path.relative('', path.resolve(path.dirname(bundle), found.originalSource));
    return `${file.replaceAll('\\', '/')}:${found.originalLine + 1}:${found.originalColumn + 1}`;
  };
  return text.replaceAll(PLACE, (place, name: string, line: string, column: string) => {
    try {
      return sourceOf(name, line, column) ?? place;
    } catch {
      return place; // the path of a request can look like this; a map may be half written
    }
  });
}

function readMap(file: string): SourceMap | undefined {
  return existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8')) as SourceMapPayload) : undefined;
}
