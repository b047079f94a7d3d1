import { serving } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createFeaturesDecoder } from './decode-features.ts';

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const name = fc.string({ maxLength: 30 });
const view = fc.record({
  ...{ view: name, version: name },
  ...{
    eventTimesUs: fc.array(int64),
    positions: fc.array(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })),
    knownTimesUs: fc.array(int64),
  },
});
const feature = fc.record({ name, type: name, block: fc.nat(5), column: fc.nat(300), view: fc.nat(20) });
const response = fc.record({
  doubles: fc.array(fc.double()),
  int64s: fc.array(int64),
  statuses: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  views: fc.array(view, { maxLength: 3 }),
  features: fc.array(feature, { maxLength: 5 }),
  version: name,
  asOfUs: int64,
  strings: fc.array(fc.record({ values: fc.array(name) }), { maxLength: 2 }),
});

test('is what the generated code reads, one answer after another', () => {
  const decode = createFeaturesDecoder();
  fc.assert(
    fc.property(response, (given) => {
      const bytes = Buffer.from(
        serving.GetFeaturesResponse.encode(serving.GetFeaturesResponse.fromPartial(given as never)).finish(),
      );
      const expected = serving.GetFeaturesResponse.decode(bytes);
      const read = decode(bytes);
      expect([...read.doubles]).toEqual(expected.doubles);
      expect([...read.int64s]).toEqual(expected.int64s.map(Number));
      expect([...read.statuses]).toEqual([...expected.statuses]);
      expect(read.version).toBe(expected.version);
      expect(read.features).toEqual(expected.features);
      expect(
        read.views.map((own) => [
          own.view,
          own.version,
          [...own.eventTimesUs],
          [...own.positions],
          [...own.knownTimesUs],
        ]),
      ).toEqual(
        expected.views.map((own) => [
          ...[own.view, own.version],
          ...[own.eventTimesUs, own.positions, own.knownTimesUs].map((times) => times.map(Number)),
        ]),
      );
    }),
  );
});

test('the columns are one list while they stay as they are', () => {
  const decode = createFeaturesDecoder();
  const bytesOf = (names: readonly string[], value: number) =>
    Buffer.from(
      serving.GetFeaturesResponse.encode(
        serving.GetFeaturesResponse.fromPartial({ doubles: [value], features: names.map((one) => ({ name: one })) }),
      ).finish(),
    );
  const first = decode(bytesOf(['a', 'b'], 1));
  expect(decode(bytesOf(['a', 'b'], 2)).features).toBe(first.features);
  expect(decode(bytesOf(['a', 'c'], 2)).features.map((one) => one.name)).toEqual(['a', 'c']);
});

test.each([
  ['a block that is cut', Buffer.from([0x0a, 0x09, ...new Array(9).fill(0)])],
  ['numbers that are not packed', Buffer.from([0x09, ...new Array(8).fill(0)])],
])('%s is an error', (_, bytes) => {
  expect(() => createFeaturesDecoder()(bytes)).toThrow('cannot be read');
});
