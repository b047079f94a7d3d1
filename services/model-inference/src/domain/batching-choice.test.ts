import { expect, test } from 'vitest';
import { chooseBatching, measuredRows } from './batching-choice.ts';

const curveOf = (us: (rows: number) => number) => measuredRows(128).map((rows) => ({ rows, us: us(rows) }));

test('sizes are powers of two up to the limit, and the limit', () => {
  expect(measuredRows(1)).toEqual([1]);
  expect(measuredRows(8)).toEqual([1, 2, 4, 8]);
  expect(measuredRows(100)).toEqual([1, 2, 4, 8, 16, 32, 64, 100]);
});

test('the smallest batch that is about as cheap as any, with what it costs', () => {
  const choice = chooseBatching(
    128,
    curveOf((rows) => 60 + 10 * rows),
    undefined,
  );
  expect(choice.rowsMax).toBe(64);
  expect(choice.cost.rowMs).toBeCloseTo(0.01, 6);
  expect(choice.cost.fixedMs).toBeCloseTo(0.09, 6);
  expect(choice.why).toBe(
    'at most 64 rows: a row takes 11 µs then and 100 µs alone; larger batches gain less than 10 %',
  );
});

test('trees whose rows get dearer in large batches stay small, and long runs are not worth it', () => {
  const trees = [7.7, 8, 9, 11.7, 18, 29.5, 150, 361];
  expect(
    chooseBatching(
      128,
      curveOf((rows) => trees[Math.log2(rows)] ?? 0),
      undefined,
    ).rowsMax,
  ).toBe(32);
  expect(
    chooseBatching(
      128,
      curveOf((rows) => 5_000 + 1_000 * rows),
      undefined,
    ).rowsMax,
  ).toBe(32);
});

test('no company where it does not pay, is not safe or not allowed, and it says why', () => {
  const dear = chooseBatching(
    128,
    curveOf((rows) => 20_000 * rows),
    undefined,
  );
  expect(dear).toMatchObject({ rowsMax: 1, why: expect.stringContaining('not cheaper in company') });
  const unsafe = chooseBatching(
    128,
    curveOf((rows) => 60 + rows),
    'rows change each other',
  );
  expect(unsafe).toMatchObject({ rowsMax: 1, why: 'requests are not batched: rows change each other' });
  expect(chooseBatching(1, [{ rows: 1, us: 9 }], undefined)).toMatchObject({
    rowsMax: 1,
    why: expect.stringContaining('one row'),
  });
});
