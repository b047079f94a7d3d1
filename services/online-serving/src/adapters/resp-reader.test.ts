import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRespReader } from './resp-reader.ts';

test('replies are read the same however the stream is cut, though the memory of each piece is used again', () => {
  const value = fc.option(fc.uint8Array({ maxLength: 40 }), { nil: null });
  const replies = fc.array(fc.oneof(fc.array(value, { maxLength: 5 }), fc.constantFrom('+OK', '-LOADING wait')), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(replies, fc.array(fc.integer({ min: 1, max: 30 })), (sent, cuts) => {
      const got: unknown[] = [];
      const read = createRespReader({
        row: (values) => got.push(values.map((row) => (row ? bytesOf(row) : row))),
        line: (text) => got.push(text),
      });
      const receive = (bytes: Buffer) => {
        const chunk = Buffer.from(bytes);
        read(chunk);
        chunk.fill(0x58);
      };
      let rest = Buffer.concat(sent.map(encodeReply));
      for (const cut of cuts) {
        if (rest.length > 0) receive(rest.subarray(0, cut));
        rest = rest.subarray(cut);
      }
      if (rest.length > 0) receive(rest);
      expect(got).toEqual(sent);
    }),
  );
});

function bytesOf({ buffer, byteOffset, byteLength }: DataView): Uint8Array {
  return new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

function encodeReply(reply: string | (Uint8Array | null)[]): Buffer {
  if (typeof reply === 'string') return Buffer.from(`${reply}\r\n`);
  const values = reply.map((value) =>
    value === null
      ? Buffer.from('$-1\r\n')
      : Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')]),
  );
  return Buffer.concat([Buffer.from(`*${reply.length}\r\n`), ...values]);
}
