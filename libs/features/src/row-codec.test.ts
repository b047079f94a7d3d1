import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Column, compileRowReader, compileView, rowView, type Scalar, type ViewDefinition } from './index.ts';
import { bodyAt, firstStepUs, knownTimeUs, lastEventTimeUs, position, shapeOf, writeHeader } from './row-layout.ts';

const atUs = 1_000_000_000_000;

/** A view that holds the last value of each of so many integer fields, and of a float and a text. */
function latest(integers: number): ViewDefinition {
  const fields = [
    ...Array.from({ length: integers }, (_, i) => ({ name: `i${i}`, type: 'INT64' as const, nullable: true })),
    { name: 'd', type: 'DOUBLE' as const, nullable: true },
    { name: 's', type: 'STRING' as const, nullable: true },
  ];
  return {
    name: 'latest',
    version: '0123456789ab',
    entity: 'thing',
    joinKeys: [{ name: 'key', type: 'INT64', field: 'i0' }],
    source: 'things',
    fields,
    features: fields.map(({ name }) => ({
      name,
      function: 'last',
      field: name,
      window: { t: 'lifetime' },
      filter: '',
      ddof: 1,
    })),
  };
}

function rowOf(view: ViewDefinition, values: readonly bigint[]): Buffer {
  const compiled = compileView(view);
  const columns = new Map<string, Column>(
    values.map((value, i) => [`i${i}`, { type: 'i64', values: BigInt64Array.of(value), nulls: null }]),
  );
  columns.set('d', { type: 'f64', values: Float64Array.of(0.25), nulls: null });
  columns.set('s', { type: 'str', values: ['é'], nulls: null });
  const state = compiled.newState();
  const bound = compiled.bind({ count: 1, eventTimeUs: Float64Array.of(atUs), columns });
  compiled.apply(state, bound, 0, atUs, 1, 0);
  compiled.settle(state, atUs + 3_600_000_000, atUs + 3_600_000_000);
  return compiled.writeRow(state, { position: 1, knownTimeUs: atUs });
}

const narrow = (value: bigint): Scalar => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

test.each([
  ['one byte', [0n, -128n, 127n], 1],
  ['two bytes', [128n, -1n, 0n], 2],
  ['two bytes, negative', [-129n, 32_767n, -32_768n], 2],
  ['four bytes', [32_768n, -7n, 1n], 4],
  ['four bytes, negative', [-32_769n, 2n ** 31n - 1n, -(2n ** 31n)], 4],
  ['eight bytes', [2n ** 31n, 0n, 5n], 8],
  ['eight bytes, negative', [-(2n ** 31n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)], 8],
])('integers that fit in %s take no more, and are read back exactly', (_, values, bytes) => {
  const view = latest(values.length);
  const row = rowOf(view, values);
  const reader = compileRowReader(view);
  const expected = [...values.map(narrow), 0.25, 'é'];
  expect(reader.valuesAt(rowView(row), atUs + 1)).toEqual(expected);
  const cursor = reader.newCursor();
  expect(reader.locate(rowView(row), atUs + 1, cursor)).toBe(true);
  const out = new DataView(new ArrayBuffer(8));
  for (const [i, value] of values.entries()) {
    reader.copyI64(rowView(row), cursor, i, out, 0);
    expect(out.getBigInt64(0, true)).toBe(value);
  }
  // header with the known time, the block's head, a float, a text's place, the integers, nulls, the text
  expect(row.length).toBe(16 + 4 + 1 + 16 + values.length * bytes + 1 + 2);
});

test('ten integers below 32,768 take 43 bytes, so that Redis keeps 25 views of them as one block', () => {
  const { version, ...view } = latest(10);
  const integers = { ...view, version, fields: view.fields.slice(0, 10), features: view.features.slice(0, 10) };
  const row = rowOf(
    integers,
    Array.from({ length: 10 }, (_, i) => BigInt(i * 999)),
  );
  expect(row.length).toBe(43);
  // the format: other bytes need another number, and what reads both
  expect(row.toString('hex')).toBe(
    '0300000000000104000000a2941a6d4200000000050000e703ce07b50b9c0f83136a17511b381f1f230000',
  );
});

test('a header is read back exactly, near times in few bytes and far ones in more', () => {
  const time = fc.oneof(
    fc.integer({ min: -(10 ** 6), max: 10 ** 6 }).map((offset) => atUs + offset),
    fc.integer({ min: -(2 ** 53), max: 2 ** 53 }),
  );
  const header = fc.record({
    position: fc.oneof(fc.nat(), fc.integer({ min: 0, max: 2 ** 48 - 1 })),
    lastEventTimeUs: time,
    knownTimeUs: time,
    firstStepUs: fc.oneof(time, fc.constant(0)),
  });
  const sizes = new Set<number>();
  fc.assert(
    fc.property(header, (given) => {
      for (const each of [given, { ...given, firstStepUs: given.lastEventTimeUs + 1 }]) {
        const shape = shapeOf(each);
        const row = Buffer.alloc(bodyAt(shape));
        writeHeader(row, shape, each);
        const view = rowView(row);
        sizes.add(row.length);
        expect({
          position: position(view),
          lastEventTimeUs: lastEventTimeUs(view),
          knownTimeUs: knownTimeUs(view),
          firstStepUs: firstStepUs(view),
        }).toEqual(each);
      }
    }),
    { numRuns: 2_000 },
  );
  expect([...sizes].sort((x, y) => x - y)).toEqual([20, 22, 24, 26, 28, 30, 32]);
});

test('bytes of another format are no row to read', () => {
  const view = latest(1);
  const row = rowOf(view, [1n]);
  row[0] = 2;
  expect(compileRowReader(view).valuesAt(rowView(row), atUs + 1)).toBeUndefined();
});

test('250 integers of an entity take a quarter of what 8 bytes each would', () => {
  const row = rowOf(
    latest(250),
    Array.from({ length: 250 }, (_, i) => BigInt((i * 7919) % 10_000)),
  );
  expect(row.length).toBeLessThan(650);
});
