import { serving } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countRows } from './count-rows.ts';
import { decodeReadRequest } from './decode-request.ts';

const encode = (request: Partial<serving.GetFeaturesRequest>): Buffer =>
  Buffer.from(serving.GetFeaturesRequest.encode(serving.GetFeaturesRequest.fromPartial(request)).finish());

test('every request that the generated code writes is read the same', () => {
  const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const column = fc.oneof(
    fc.record({ name: fc.string(), strings: fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1 }) }),
    fc.record({ name: fc.string(), int64s: fc.array(int64, { minLength: 1 }) }),
    fc.record({ name: fc.string(), bools: fc.array(fc.boolean(), { minLength: 1 }) }),
  );
  const request = fc.record({
    featureService: fc.string(),
    version: fc.string(),
    keys: fc.array(column, { maxLength: 4 }),
    asOfUs: fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
    asOfUsByRow: fc.array(fc.bigInt({ min: 0n, max: 2n ** 53n - 1n })),
    allowPartial: fc.boolean(),
    allowHistory: fc.boolean(),
    omitMetadata: fc.boolean(),
  });
  fc.assert(
    fc.property(request, (sent) => {
      const read = decodeReadRequest(encode(serving.GetFeaturesRequest.fromPartial(sent as never)));
      expect(read.featureService).toBe(sent.featureService);
      expect(read.version).toBe(sent.version);
      expect(BigInt(read.asOfUs)).toBe(sent.asOfUs);
      expect([...read.asOfUsByRow].map(BigInt)).toEqual(sent.asOfUsByRow);
      expect([read.allowPartial, read.allowHistory, read.omitMetadata]).toEqual([
        sent.allowPartial,
        sent.allowHistory,
        sent.omitMetadata,
      ]);
      const [first] = read.keys;
      expect(countRows(encode(serving.GetFeaturesRequest.fromPartial(sent as never)))).toBe(first?.values.length ?? 1);
      expect(read.keys.map((key) => key.name)).toEqual(sent.keys.map((key) => key.name));
      sent.keys.forEach((key, i) => {
        const values = 'strings' in key ? key.strings : 'int64s' in key ? key.int64s : key.bools;
        const got = read.keys[i]?.values.map((value) => ('int64s' in key ? BigInt(value) : value));
        expect(got).toEqual(values);
      });
    }),
  );
});

test('a null key is found at its row', () => {
  const read = decodeReadRequest(
    encode({ keys: [{ name: 'a', strings: ['x', '', 'z'], int64s: [], bools: [], nulls: Buffer.from([0, 1, 0]) }] }),
  );
  expect(read.keys[0]?.nullRow).toBe(1);
});

test('bytes that are no request are refused, never looped over', () => {
  for (const bytes of [[0x0a, 0x7f], [0xff], [0x1a, 0x03, 0x1a, 0x05, 0x00], [0x2a, 0x03, 1, 2, 3], [0x0b]]) {
    expect(() => decodeReadRequest(Buffer.from(bytes))).toThrow(
      expect.objectContaining({ reason: 'MALFORMED_PAYLOAD' }),
    );
  }
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      try {
        decodeReadRequest(Buffer.from(bytes));
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: 'MeshError' });
      }
    }),
  );
});
