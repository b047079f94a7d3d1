import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RowBinaryWriter } from './row-binary.ts';

test('safe integers of either sign are written as two’s complement, little-endian', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const writer = new RowBinaryWriter();
      writer.int64(value);
      const bytes = writer.finish();
      expect(bytes.length).toBe(8);
      expect(bytes.readBigInt64LE()).toBe(BigInt(value));
    }),
  );
});

test('strings have their length in bytes before them, as a varint; the buffer grows past its first megabyte', () => {
  const lengthAndBytes: readonly (readonly [number, number])[] = [
    [0, 1],
    [127, 1],
    [128, 2],
    [16_383, 2],
    [16_384, 3],
    [3 << 20, 4],
  ];
  for (const [length, head] of lengthAndBytes) {
    const writer = new RowBinaryWriter();
    writer.uint8(7);
    writer.string('x'.repeat(length));
    writer.float64(0.5);
    const bytes = writer.finish();
    expect(bytes.length).toBe(1 + head + length + 8);
    expect(bytes.readDoubleLE(bytes.length - 8)).toBe(0.5);
  }
  const writer = new RowBinaryWriter();
  writer.string('é“');
  expect([...writer.finish()]).toEqual([5, ...Buffer.from('é“')]);
});
