/** A single, unnamed statement of the extended protocol, with its parameters as text. */
export interface Statement {
  query: string;
  params: readonly (string | null)[];
  /** Whether the server is to describe the columns of its answer. */
  describe: boolean;
}

const DESCRIBE_PORTAL = Buffer.from('D\0\0\0\x06P\0', 'latin1');
const EXECUTE = Buffer.from('E\0\0\0\x09\0\0\0\0\0', 'latin1');
const SYNC = Buffer.from('S\0\0\0\x04', 'latin1');

/** Bytes of a Parse and a Bind without their texts. */
const FRAME = 8 + 14;

/** Statements that the server runs one after another, up to the first that fails; then one Sync. */
export function encodeFlight(statements: readonly Statement[]): Buffer {
  let size = SYNC.length;
  for (const { query, params } of statements) {
    size += FRAME + Buffer.byteLength(query) + DESCRIBE_PORTAL.length + EXECUTE.length;
    for (const param of params) size += 4 + (param === null ? 0 : Buffer.byteLength(param));
  }
  const flight = Buffer.allocUnsafe(size);
  let at = 0;

  /** @returns where the message's length belongs */
  const begin = (type: string) => {
    at += flight.write(type, at, 'latin1');
    at += 4;
    return at - 4;
  };
  const end = (lengthAt: number) => flight.writeInt32BE(at - lengthAt, lengthAt);
  const int16 = (value: number) => (at = flight.writeUInt16BE(value, at));

  for (const { query, params, describe } of statements) {
    const parse = begin('P');
    at = flight.writeUInt8(0, at); // unnamed
    at += flight.write(query, at);
    at = flight.writeUInt8(0, at);
    int16(0); // parameter types: the server decides
    end(parse);

    const bind = begin('B');
    int16(0); // unnamed portal, unnamed statement
    int16(0); // parameter formats: text
    int16(params.length);
    for (const param of params) {
      const lengthAt = at;
      at += 4;
      if (param !== null) at += flight.write(param, at);
      flight.writeInt32BE(param === null ? -1 : at - lengthAt - 4, lengthAt);
    }
    int16(0); // result formats: text
    end(bind);

    if (describe) at += DESCRIBE_PORTAL.copy(flight, at);
    at += EXECUTE.copy(flight, at);
  }
  at += SYNC.copy(flight, at);
  return flight.subarray(0, at);
}
