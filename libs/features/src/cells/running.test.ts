import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Merge, Parts, WindowPart } from './cell.ts';
import { finishDistinct, mergeDistinct } from './distinct.ts';
import { hashOf } from './hash-of.ts';
import { bucketOfDouble, mergeBuckets, percentileFinisher } from './percentile.ts';
import { RunningCounts } from './running-counts.ts';
import { RunningDistinct } from './running-distinct.ts';

type Held = { readonly slots: number[]; readonly parts: WindowPart[] };

const empty = (part: WindowPart = null): Held => ({ slots: [0, 0], parts: [part] });

function add(merge: Merge, to: Held, from: Held): void {
  merge(to.slots, 0, from.slots, 0, to.parts, 0, from.parts as Parts, 0);
}

/** Tiles of some values each, as a state holds them. */
function tilesOf(merge: Merge, slotOf: (value: number) => number, values: readonly (readonly number[])[]): Held[] {
  return values.map((some) => {
    const tile = empty();
    for (const value of some) add(merge, tile, { slots: [1, slotOf(value)], parts: [null] });
    return tile;
  });
}

const numbers = fc.oneof(
  fc.double({ min: -1e3, max: 1e3, noNaN: true }),
  fc.constantFrom(0, -0, 5e-324, -5e-324, 1.7e308, -1.7e308, 1, -1),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

test('buckets put together in dense arrays give the percentiles of those put together in lists, used again or not', () => {
  const running = new RunningCounts();
  const finish = percentileFinisher(0.95);
  fc.assert(
    fc.property(
      fc.array(fc.array(numbers, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 6 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, quantile) => {
        const dense = empty(running);
        running.clear();
        const list = empty();
        for (const tile of tilesOf(mergeBuckets, bucketOfDouble, values)) {
          add(mergeBuckets, dense, tile);
          add(mergeBuckets, list, tile);
          for (const each of [finish, percentileFinisher(quantile)])
            expect(each(dense.slots, 0, dense.parts, 0, 0)).toBe(each(list.slots, 0, list.parts, 0, 0));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('distinct values put together in a table, and in registers beyond the threshold, are as many as those in lists', () => {
  const running = new RunningDistinct();
  const hash = (value: number) => hashOf('INT64', 0, value, '');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(4_000), fc.constantFrom(1, 2, 30, 700, 1_500)), { minLength: 1, maxLength: 5 }),
      (ranges) => {
        const table = empty(running);
        running.clear();
        const list = empty();
        const values = ranges.map(([from, count]) => Array.from({ length: count }, (_, i) => from + i));
        for (const tile of tilesOf(mergeDistinct, hash, values)) {
          add(mergeDistinct, table, tile);
          add(mergeDistinct, list, tile);
          expect(finishDistinct(table.slots, 0, table.parts, 0, 0)).toBe(
            finishDistinct(list.slots, 0, list.parts, 0, 0),
          );
        }
      },
    ),
    { numRuns: 100 },
  );
});
