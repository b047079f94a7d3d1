import { expect, test } from 'vitest';
import { addPairs, disagree, type Pair, pairFigures, startPairs } from './pairs.ts';
import { createRandom } from './simulate/random.ts';

test('figures of pairs are those of all their differences', () => {
  const random = createRandom(1);
  const pairs: Pair[] = Array.from({ length: 5_000 }, () => {
    const stable = random.unit();
    return { stable, canary: Math.min(1, Math.max(0, stable + 0.05 * random.normal())) };
  });
  let tally = startPairs();
  for (let at = 0; at < pairs.length; at += 10)
    tally = addPairs(tally, pairs.slice(at, at + 10), 0.5, { canary: 3, stable: 2 });
  const sorted = pairs.map(({ stable, canary }) => Math.abs(stable - canary)).sort((a, b) => a - b);
  const { meanDifference, p95Difference } = pairFigures(tally);
  expect(meanDifference).toBeCloseTo(sorted.reduce((sum, value) => sum + value, 0) / 5_000, 9);
  expect(Math.abs(p95Difference / (sorted[4_749] ?? 0) - 1)).toBeLessThan(0.07);
  expect(tally.disagreed).toBe(pairs.filter((pair) => pair.stable >= 0.5 !== pair.canary >= 0.5).length);
  expect(tally.onlyCanary + tally.onlyStable).toBe(tally.disagreed);
  expect([tally.calls, tally.canaryMs / tally.calls, tally.stableMs / tally.calls]).toEqual([500, 3, 2]);
});

test('McNemar’s p with the correction is the reference’s', () => {
  // scipy.stats.chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1) for 25 and 10, 3 and 3, 0 and 0
  const p = (onlyCanary: number, onlyStable: number) =>
    pairFigures({ ...startPairs(), onlyCanary, onlyStable }).mcnemarP;
  expect(p(25, 10)).toBeCloseTo(0.01796, 5);
  expect([p(3, 3), p(0, 0)]).toEqual([1, 1]);
});

test('a score that is no number disagrees with one that is, and without pairs there are no figures', () => {
  const nan = Number.NaN;
  expect(disagree({ stable: 0.2, canary: nan }, 0.5)).toBe(true);
  expect(disagree({ stable: nan, canary: nan }, 0.5)).toBe(false);
  expect(disagree({ stable: 0.5, canary: 0.49 }, 0.5)).toBe(true);
  expect(disagree({ stable: 0.5, canary: 0.49 }, 0.3)).toBe(false);
  expect(pairFigures(startPairs())).toEqual({ meanDifference: nan, p95Difference: nan, mcnemarP: 1 });
  const one = addPairs(startPairs(), [{ stable: 0.2, canary: nan }], 0.5, { canary: 1, stable: 1 });
  expect(one).toMatchObject({ pairs: 1, disagreed: 1, measured: 0, onlyCanary: 0, onlyStable: 0 });
  expect(
    pairFigures(addPairs(startPairs(), [{ stable: 0.2, canary: 0.2 }], 0.5, { canary: 1, stable: 1 })).p95Difference,
  ).toBe(0);
});
