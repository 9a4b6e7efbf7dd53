import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** The files of a repository, and the changes to be made to them. Nothing is written before `save`. */
export interface Tree {
  files: () => string[];
  has: (file: string) => boolean;
  read: (file: string) => string;
  write: (file: string, text: string) => void;
  /** @throws {Error} when `change` changes nothing: the file is no longer what this script was written for */
  edit: (file: string, change: (text: string) => string) => void;
  /** Removes a file, or everything in a folder; what is not there is ignored. */
  remove: (...paths: string[]) => void;
  changes: () => { removed: string[]; added: string[]; changed: string[] };
  save: () => void;
}

/** @param root of a git repository: its files are those that git tracks, and new ones that it does not ignore */
export function openTree(root: string): Tree {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  const original = list
    .toString()
    .split('\0')
    .filter((file) => file !== '' && lstatSync(path.join(root, file), { throwIfNoEntry: false })?.isFile());
  const present = new Set(original);
  const written = new Map<string, string>();

  const read = (file: string) => written.get(file) ?? readFileSync(path.join(root, file), 'utf8');
  const write = (file: string, text: string) => {
    if (path.relative(root, path.resolve(root, file)).startsWith('..')) throw new Error(`${file} is not in ${root}.`);
    present.add(file);
    written.set(file, text);
  };
  const removed = () => original.filter((file) => !present.has(file));
  return {
    files: () => [...present].toSorted((a, b) => (a < b ? -1 : 1)),
    has: (file) => present.has(file),
    read,
    write,
    edit(file, change) {
      const text = read(file);
      const changed = change(text);
      if (changed === text) throw new Error(`${file} is not as expected: nothing was found to change.`);
      write(file, changed);
    },
    remove(...paths) {
      for (const file of present) {
        if (!paths.some((gone) => file === gone || file.startsWith(`${gone.replace(/\/$/, '')}/`))) continue;
        present.delete(file);
        written.delete(file);
      }
    },
    changes() {
      const files = [...written.keys()].toSorted((a, b) => (a < b ? -1 : 1));
      const isOriginal = (file: string) => original.includes(file);
      return {
        removed: removed(),
        added: files.filter((file) => !isOriginal(file)),
        changed: files.filter(isOriginal),
      };
    },
    save() {
      for (const file of removed()) {
        rmSync(path.join(root, file));
        removeEmpty(path.dirname(path.join(root, file)));
      }
      for (const [file, text] of written) {
        mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        writeFileSync(path.join(root, file), text);
      }
    },
  };
}

/** Removes a folder, and those that contain it, as long as nothing is left in them. */
function removeEmpty(folder: string): void {
  if (readdirSync(folder).length > 0) return;
  rmdirSync(folder);
  removeEmpty(path.dirname(folder));
}
