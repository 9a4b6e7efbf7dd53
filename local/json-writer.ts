/** Bytes of the first block, which most answers fit into, and of the largest. */
const FIRST_BLOCK = 2 * 1024;
const LARGEST_BLOCK = 256 * 1024;

/** Bytes that are escaped in one go; each may become six (`\u0000`). */
const SLICE = 4 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HEX = '0123456789abcdef';

/** What stands for a byte after a backslash in a JSON string, if it has a short form. */
const SHORT: Record<number, string> = { 0x08: 'b', 0x09: 't', 0x0a: 'n', 0x0c: 'f', 0x0d: 'r', 0x22: '"', 0x5c: '\\' };
const ESCAPES = Array.from({ length: 128 }, (_, byte) => {
  const short = SHORT[byte];
  if (short) return Buffer.from(`\\${short}`);
  return byte < 0x20 ? Buffer.from(`\\u00${HEX[byte >> 4]}${HEX[byte & 15]}`) : undefined;
});

export interface JsonWriter {
  /** Bytes written so far. */
  size(): number;
  /** Text that is JSON already. */
  text(json: string): void;
  /** UTF-8 that is JSON already. */
  raw(json: Buffer): void;
  /** UTF-8 as a JSON string. */
  string(utf8: Buffer): void;
  blocks(): Buffer[];
}

/**
 * Collects JSON as bytes, without a string in between: what PostgreSQL sends is UTF-8, and so is what goes out.
 * @param onFull called for each full block, with the number of bytes so far; what it throws ends the writing
 */
export function createJsonWriter(onFull: (size: number) => void): JsonWriter {
  const full: Buffer[] = [];
  let fullSize = 0;
  let block = Buffer.allocUnsafe(FIRST_BLOCK);
  let at = 0;

  const reserve = (bytes: number) => {
    if (block.length - at >= bytes) return;
    full.push(block.subarray(0, at));
    fullSize += at;
    onFull(fullSize);
    block = Buffer.allocUnsafe(Math.max(bytes, Math.min(block.length * 4, LARGEST_BLOCK)));
    at = 0;
  };
  const escape = (slice: Buffer) => {
    reserve(slice.length * 6 + 2);
    for (const byte of slice) {
      const escaped = byte < 0x20 || byte === QUOTE || byte === BACKSLASH ? ESCAPES[byte] : undefined;
      if (escaped) at += escaped.copy(block, at);
      else block[at++] = byte;
    }
  };

  return {
    size: () => fullSize + at,
    text(json) {
      reserve(json.length * 3); // no UTF-16 unit takes more than three bytes
      at += block.write(json, at);
    },
    raw(json) {
      reserve(json.length);
      at += json.copy(block, at);
    },
    string(utf8) {
      reserve(1);
      block[at++] = QUOTE;
      if (utf8.length <= SLICE) escape(utf8);
      else for (let from = 0; from < utf8.length; from += SLICE) escape(utf8.subarray(from, from + SLICE));
      reserve(1);
      block[at++] = QUOTE;
    },
    blocks: () => [...full, block.subarray(0, at)],
  };
}
