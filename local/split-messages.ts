import { ProtocolError } from './postgres-messages.ts';

export interface SplitOptions {
  /** Messages of these types are gathered and reported whole. Default: all. */
  watched?: string;
  onMessage: (type: string, message: Buffer) => void;
  /** What lies between them, in parts as it arrives. */
  onOther?: (bytes: Buffer) => void;
  /** Called with the length of a message that is still incomplete, before it is gathered. */
  onLong?: (length: number) => void;
}

/**
 * Finds messages in a stream by their headers, and looks at nothing else: what is not watched is not copied.
 * @returns a function to call with each chunk
 * @throws {ProtocolError} from that function, for something that is not a message; or what a listener throws
 */
export function splitMessages({ watched, onMessage, onOther, onLong }: SplitOptions): (chunk: Buffer) => void {
  const isWatched = Array.from({ length: 256 }, (_, type) => watched?.includes(String.fromCharCode(type)) ?? true);
  let head: Buffer | undefined; // part of a header
  let gathering: Buffer | undefined;
  let gathered = 0;
  let passing = 0; // bytes of an unwatched message that are still to come

  const report = (message: Buffer) => onMessage(String.fromCharCode(message[0] ?? 0), message);
  return (chunk) => {
    const bytes = head ? Buffer.concat([head, chunk]) : chunk;
    head = undefined;
    let at = 0;
    if (gathering) {
      at = bytes.copy(gathering, gathered);
      gathered += at;
      if (gathered < gathering.length) return;
      const whole = gathering;
      gathering = undefined;
      report(whole);
    }
    let other = at;
    const reportOther = (end: number) => {
      if (end > other) onOther?.(bytes.subarray(other, end));
    };
    const skip = Math.min(passing, bytes.length - at);
    at += skip;
    passing -= skip;
    while (bytes.length - at >= 5) {
      const length = bytes.readInt32BE(at + 1);
      if (length < 4) throw new ProtocolError('invalid message length');
      const end = at + 1 + length;
      if (!isWatched[bytes[at] ?? 0]) {
        passing = Math.max(0, end - bytes.length);
        at = Math.min(end, bytes.length);
        continue;
      }
      reportOther(at);
      if (end > bytes.length) {
        onLong?.(end - at);
        gathering = Buffer.allocUnsafe(end - at);
        gathered = bytes.copy(gathering, 0, at);
        return;
      }
      report(bytes.subarray(at, end));
      at = other = end;
    }
    reportOther(at);
    if (at < bytes.length) head = bytes.subarray(at);
  };
}
