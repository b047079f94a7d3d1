import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { chiSquareQuantile, ksCritical, ksStatistic, psi, psiCritical } from './distribution.ts';

type Fixture = {
  readonly ks: readonly { readonly a: number[]; readonly b: number[]; readonly statistic: number }[];
  readonly psi: readonly { readonly reference: number[]; readonly current: number[]; readonly psi: number }[];
  readonly chi: readonly { readonly p: number; readonly df: number; readonly quantile: number }[];
};
const fixture = JSON.parse(readFileSync(new URL('./fixtures/distribution.json', import.meta.url), 'utf8')) as Fixture;

test('the Kolmogorov–Smirnov statistic, PSI and χ² quantiles are SciPy’s and NumPy’s', () => {
  for (const { a, b, statistic } of fixture.ks) expect(ksStatistic(a, b)).toBeCloseTo(statistic, 12);
  for (const { reference, current, psi: wanted } of fixture.psi)
    expect(psi(reference, current)).toBeCloseTo(wanted, 12);
  for (const { p, df, quantile } of fixture.chi) {
    expect(Math.abs(chiSquareQuantile(p, df) - quantile) / quantile).toBeLessThan(1e-9);
  }
  expect([fixture.ks.length, fixture.psi.length, fixture.chi.length]).toEqual([4, 3, 25]);
});

test('the critical values keep their false-alarm rate', () => {
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  const alarms = { psi: 0, ks: 0 };
  const trials = 1_000;
  for (let trial = 0; trial < trials; trial++) {
    const [a, b] = [500, 300].map((size) => Array.from({ length: size }, random)) as [number[], number[]];
    const bins = (values: readonly number[]) =>
      values.reduce((counts, value) => {
        counts[Math.floor(value * 10)] = (counts[Math.floor(value * 10)] ?? 0) + 1;
        return counts;
      }, new Array<number>(10).fill(0));
    if (psi(bins(a), bins(b)) > psiCritical(0.05, 500, 300, 10)) alarms.psi++;
    if (ksStatistic(a, b) > ksCritical(0.05, 500, 300)) alarms.ks++;
  }
  for (const count of [alarms.psi, alarms.ks]) {
    expect(count / trials).toBeGreaterThan(0.02);
    expect(count / trials).toBeLessThan(0.08);
  }
});
