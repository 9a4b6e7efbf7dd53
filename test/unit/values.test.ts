import { describe, expect, it } from 'vitest';
import { toStatement } from '../../src/db/internal/prepared-query.ts';
import { decoderFor, encodeParameter } from '../../src/db/internal/values.ts';

describe('encodeParameter', () => {
  it.each([
    [undefined, null],
    [null, null],
    ['text', 'text'],
    ['cut off \ud83e', 'cut off \ufffd'],
    [['\ud83e'], '{"\ufffd"}'],
    [2n ** 63n, '9223372036854775808'],
    [Number.NaN, 'NaN'],
    [true, 'true'],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    [new Uint8Array([0, 255]), '\\x00ff'],
    [{ a: [1] }, '{"a":[1]}'],
    [Array(2), '{NULL,NULL}'],
    [[1, null, 'a"b\\c', [new Uint8Array([1])]], '{"1",NULL,"a\\"b\\\\c",{"\\\\x01"}}'],
  ])('writes %o', (value, text) => {
    expect(encodeParameter(value)).toBe(text);
  });

  it('refuses what has no text form', () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (const value of [circular, () => {}, Symbol('s')]) expect(() => encodeParameter(value)).toThrow(Error);
  });
});

it('a statement has as many parameters as the protocol can count, and no more', () => {
  const withParameters = (length: number) => toStatement({ sql: '', params: Array(length).fill(1) });
  expect(withParameters(65_535).params).toHaveLength(65_535);
  expect(() => withParameters(65_536)).toThrow('More than 65535 parameters.');
});

it('bytes come back as they were, whatever part of a buffer they are', () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
  const [whole, part] = [bytes, new DataView(bytes.buffer, 90, 20)].map((value) => encodeParameter(value) ?? '');
  expect(decoderFor(17)(whole ?? '')).toEqual(bytes);
  expect(decoderFor(17)(part ?? '')).toEqual(bytes.subarray(90, 110));
  expect(decoderFor(17)('\\x')).toEqual(new Uint8Array());
});

describe('decoderFor', () => {
  it.each([
    [1007, '{1,NULL,3}', [1, null, 3]],
    [1007, '[0:1]={1,2}', [1, 2]],
    [
      1007,
      '{{1,2},{3,4}}',
      [
        [1, 2],
        [3, 4],
      ],
    ],
    [1009, '{"a,b",NULL,"NULL","q\\"\\\\",""}', ['a,b', null, 'NULL', 'q"\\', '']],
    [1009, '{}', []],
    [791, '{$1.50,NULL}', ['$1.50', null]],
    [1009, '{"\\\\","\\\\\\"",a,"\\"","\\",","\n"}', ['\\', '\\"', 'a', '"', '",', '\n']],
    [3807, '{"{\\"a\\": 1}"}', [{ a: 1 }]],
    [701, 'NaN', Number.NaN],
    [701, '-Infinity', Number.NEGATIVE_INFINITY],
    [17, '\\x00ff', new Uint8Array([0, 255])],
    [20, '9007199254740993', '9007199254740993'],
  ])('reads type %i from %s', (type, text, value) => {
    expect(decoderFor(type)(text)).toEqual(value);
  });

  it('refuses bytea in the format that is not the default', () => {
    expect(() => decoderFor(17)('abc')).toThrow('bytea_output');
  });

  it('reads items of many megabytes', () => {
    const items = ['a b'.repeat(4_000_000), 'a"'.repeat(4_000_000)];
    expect(decoderFor(1009)(encodeParameter(items) ?? '')).toEqual(items);
  });
});
