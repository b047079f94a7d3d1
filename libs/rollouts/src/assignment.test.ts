import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bucketOf, buckets, experimentOf, isCanary, layerParts } from './assignment.ts';

test('a unit that is in at one share is in at every larger one', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.float({ min: 0, max: 1, noNaN: true }),
      fc.float({ min: 0, max: 1, noNaN: true }),
      (unit, a, b) => {
        const bucket = bucketOf('s', 'e', unit);
        if (isCanary(bucket, Math.min(a, b))) expect(isCanary(bucket, Math.max(a, b))).toBe(true);
      },
    ),
  );
});

test('units spread evenly, and independently between experiments', () => {
  const units = 20_000;
  let [first, both] = [0, 0];
  const tenths = new Array<number>(10).fill(0);
  for (let at = 0; at < units; at++) {
    const [a, b] = [bucketOf('s', 'a', `user-${at}`), bucketOf('s', 'b', `user-${at}`)];
    tenths[Math.floor(a / 1_000)] = (tenths[Math.floor(a / 1_000)] ?? 0) + 1;
    if (isCanary(a, 0.1)) first++;
    if (isCanary(a, 0.1) && isCanary(b, 0.1)) both++;
  }
  // χ² of 9 degrees of freedom is above 27.9 once in a thousand draws
  expect(tenths.reduce((sum, n) => sum + (n - units / 10) ** 2 / (units / 10), 0)).toBeLessThan(27.9);
  expect(Math.abs(first - 2_000)).toBeLessThan(4 * Math.sqrt(1_800));
  expect(Math.abs(both - 200)).toBeLessThan(4 * Math.sqrt(198));
});

test('experiments of a layer share no unit, and a layer is never overfull', () => {
  const parts = layerParts([
    { experiment: 'a', share: 0.3 },
    { experiment: 'b', share: 0.5 },
  ]);
  expect(parts).toEqual([
    { experiment: 'a', from: 0, to: 3_000 },
    { experiment: 'b', from: 3_000, to: 8_000 },
  ]);
  const counts = new Map<string, number>();
  for (let at = 0; at < 10_000; at++) {
    const experiment = experimentOf('checkout', parts, `u${at}`) ?? 'none';
    counts.set(experiment, (counts.get(experiment) ?? 0) + 1);
  }
  expect(Math.abs((counts.get('a') ?? 0) - 3_000)).toBeLessThan(200);
  expect(Math.abs((counts.get('none') ?? 0) - 2_000)).toBeLessThan(200);
  expect(() =>
    layerParts([
      { experiment: 'a', share: 0.7 },
      { experiment: 'b', share: 0.4 },
    ]),
  ).toThrow(/experiment "b"/);
  expect(buckets).toBe(10_000);
});
