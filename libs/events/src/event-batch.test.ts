import { events } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Column, type DecodedBatch, decodeEventBatch, encodeEventBatch, operations } from './index.ts';

const timeUs = fc.integer({ min: -1e15, max: 7e15 });
const batch = fc.integer({ min: 1, max: 40 }).chain((count) => {
  const many = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: count, maxLength: count });
  const nulls = fc.option(many(fc.constantFrom(0, 1)).map((bytes) => Uint8Array.from(bytes)));
  const column: fc.Arbitrary<Column> = fc.oneof(
    fc.record({
      type: fc.constant('f64' as const),
      values: many(fc.double({ noNaN: true })).map((values) => Float64Array.from(values)),
      nulls,
    }),
    fc.record({
      type: fc.constant('i64' as const),
      values: many(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })).map((values) => BigInt64Array.from(values)),
      nulls,
    }),
    fc.record({
      type: fc.constant('bool' as const),
      values: many(fc.constantFrom(0, 1)).map((values) => Uint8Array.from(values)),
      nulls,
    }),
    fc.record({ type: fc.constant('str' as const), values: many(fc.string({ unit: 'binary' })), nulls }),
    fc.integer({ min: 1, max: 200 }).chain((dimension) =>
      fc.record({
        type: fc.constant('vec' as const),
        dimension: fc.constant(dimension),
        values: many(fc.float({ noNaN: true })).map((values) =>
          Float32Array.from({ length: dimension * count }, (_, at) => values[at % count] ?? 0),
        ),
        nulls,
      }),
    ),
  );
  const changes = fc.record({
    operations: many(fc.constantFrom(...Object.values(operations))).map((bytes) => Uint8Array.from(bytes)),
    sequences: fc.option(
      many(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })).map((values) => BigUint64Array.from(values)),
    ),
  });
  const required = {
    source: fc.string(),
    sourceVersion: fc.string(),
    knownTimeUs: timeUs,
    count: fc.constant(count),
    ids: many(fc.string()),
    eventTimeUs: many(timeUs).map((values) => Float64Array.from(values)),
    payloadHashes: many(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })).map((values) => BigUint64Array.from(values)),
    columns: fc
      .uniqueArray(fc.tuple(fc.string({ minLength: 1 }), column), { selector: ([name]) => name, maxLength: 5 })
      .map((entries) => new Map(entries)),
  };
  return fc.record({ ...required, changes }, { requiredKeys: Object.keys(required) as (keyof typeof required)[] });
});

test('what is encoded is decoded, also from an unaligned place', () => {
  fc.assert(
    fc.property(batch, fc.integer({ min: 0, max: 7 }), (given, offset) => {
      const bytes = encodeEventBatch(given as DecodedBatch);
      const moved = Buffer.concat([Buffer.alloc(offset), bytes]).subarray(offset);
      expect(decodeEventBatch(moved)).toEqual(given);
    }),
  );
});

test('the generated code reads our bytes, and we read its', () => {
  fc.assert(
    fc.property(batch, (given) => {
      const bytes = encodeEventBatch(given as DecodedBatch);
      const message = events.EventBatch.decode(bytes);
      expect(message.eventIds).toEqual(given.ids);
      expect(message.eventTimesUs).toEqual([...given.eventTimeUs].map(BigInt));
      expect(message.columns.map(({ name }) => name)).toEqual([...given.columns.keys()]);
      expect([...message.operations]).toEqual([...(given.changes?.operations ?? [])]);
      expect(message.sequences).toEqual([...(given.changes?.sequences ?? [])]);
      const theirs = Buffer.from(events.EventBatch.encode(message).finish());
      expect(decodeEventBatch(theirs)).toEqual(given);
    }),
  );
});

test('bytes that are cut short are an error', () => {
  const bytes = encodeEventBatch({
    source: 'clicks',
    sourceVersion: '',
    knownTimeUs: 1,
    count: 1,
    ids: ['a'],
    eventTimeUs: Float64Array.of(5),
    payloadHashes: BigUint64Array.of(7n),
    columns: new Map(),
  });
  expect(() => decodeEventBatch(bytes.subarray(0, bytes.length - 3))).toThrow(RangeError);
});
