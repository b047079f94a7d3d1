import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { splitP } from '../sample-ratio.ts';
import { createRandom } from '../simulate/random.ts';
import { holm, splitAlpha } from './alpha.ts';
import { logMeanExp } from './log-sum.ts';
import {
  confidenceRadius,
  differenceLogE,
  type Moments,
  mergeMoments,
  mixingRate,
  momentsOf,
  msprtLogRatio,
  msprtTwoRates,
} from './means.ts';
import { logNormalCdf } from './normal.ts';
import { detectionS, sprtTrials } from './power.ts';
import { logLikelihoods, type RateCount } from './rate-ratio.ts';
import { bernoulliLogRatio, sprtBounds } from './sprt.ts';

type Fixture = {
  readonly ratio: readonly {
    readonly canary: RateCount;
    readonly stable: RateCount;
    readonly logs: readonly { readonly ratio: number; readonly log: number }[];
  }[];
  readonly cdf: readonly { readonly z: number; readonly log: number }[];
  readonly half: readonly {
    readonly difference: number;
    readonly se: number;
    readonly count: number;
    readonly rate: number;
    readonly log: number;
  }[];
  readonly msprt: readonly {
    readonly difference: number;
    readonly v: number;
    readonly tau2: number;
    readonly log: number;
  }[];
  readonly splits: readonly {
    readonly counts: readonly number[];
    readonly weights: readonly number[];
    readonly p: number;
  }[];
  readonly holm: readonly { readonly p: readonly number[]; readonly rejected: readonly boolean[] }[];
};
const fixture = JSON.parse(readFileSync(new URL('../fixtures/reference.json', import.meta.url), 'utf8')) as Fixture;

test('the likelihoods of odds ratios are those of SciPy’s noncentral hypergeometric', () => {
  for (const { canary, stable, logs } of fixture.ratio) {
    const ours = logLikelihoods(
      canary,
      stable,
      logs.map(({ ratio }) => ratio),
    );
    for (const [at, { log }] of logs.entries()) expect(ours[at]).toBeCloseTo(log, 9);
  }
  expect(fixture.ratio.length).toBe(6);
});

test('slices in which everything or nothing fails, or only one arm ran, are no evidence', () => {
  for (const [canary, stable] of [
    [
      { trials: 20, hits: 20 },
      { trials: 180, hits: 180 },
    ],
    [
      { trials: 20, hits: 0 },
      { trials: 180, hits: 0 },
    ],
    [
      { trials: 0, hits: 0 },
      { trials: 180, hits: 7 },
    ],
    [
      { trials: 20, hits: 4 },
      { trials: 0, hits: 0 },
    ],
  ] as const)
    for (const log of logLikelihoods(canary, stable, [0.5, 2, 50])) expect(log).toBeCloseTo(0, 12);
});

test('Φ, the half-normal mixture, the mSPRT and Holm are the references’', () => {
  for (const { z, log } of fixture.cdf)
    expect(Math.abs(logNormalCdf(z) - log)).toBeLessThan(1e-9 * Math.max(1, Math.abs(log)));
  for (const { difference, se, count, rate, log } of fixture.half) {
    const arm: Moments = { count, mean: difference, squares: (se * se * count * (count - 1)) / 2 };
    expect(differenceLogE(arm, { ...arm, mean: 0 }, 0, rate)).toBeCloseTo(log, 8);
  }
  for (const { difference, v, tau2, log } of fixture.msprt)
    expect(msprtLogRatio(difference, v, tau2)).toBeCloseTo(log, 8);
  for (const { p, rejected } of fixture.holm) expect(holm(p, 0.05)).toEqual(rejected);
  expect([fixture.cdf.length, fixture.half.length, fixture.msprt.length, fixture.holm.length]).toEqual([12, 4, 3, 4]);
});

test('moments of parts are the moments of the whole', () => {
  const random = createRandom(5);
  const values = Array.from({ length: 300 }, () => 1e6 + random.normal());
  const merged = mergeMoments(momentsOf(values.slice(0, 120)), momentsOf(values.slice(120)));
  const mean = values.reduce((sum, value) => sum + value, 0) / 300;
  expect(merged.count).toBe(300);
  expect(merged.mean).toBeCloseTo(mean, 6);
  expect(merged.squares).toBeCloseTo(
    values.reduce((sum, value) => sum + (value - mean) ** 2, 0),
    6,
  );
});

test('alpha is split by weight and all of it is used', () => {
  expect(splitAlpha(0.01, [3, 1])).toEqual([0.0075, 0.0025]);
  expect(holm([0.006, 0.009, 0.5], 0.02, [2, 1, 1])).toEqual([true, true, false]);
});

/** The share of streams in which `alarms` ever says so. */
function everAlarmed(runs: number, alarms: (seed: number) => boolean): number {
  let count = 0;
  for (let seed = 1; seed <= runs; seed++) if (alarms(seed)) count++;
  return count / runs;
}

const runs = 1_000;
const alpha = 0.05;
/** Three standard deviations above a true rate of alpha. */
const allowed = alpha + 3 * Math.sqrt((alpha * (1 - alpha)) / runs);

test('the rate test keeps alpha under a look at every smallest slice, while the base rate and the share drift', () => {
  const ratios = [1.2, 1.5, 2, 3, 5, 10];
  const rate = everAlarmed(runs, (seed) => {
    const random = createRandom(seed);
    let logs = ratios.map(() => 0);
    for (let slice = 0; slice < 600; slice++) {
      const p = 0.02 + 0.3 * Math.sin(slice / 40) ** 8;
      const canary = { trials: 1 + random.poisson(slice < 300 ? 0.5 : 3), hits: 0 };
      const stable = { trials: 1 + random.poisson(4), hits: 0 };
      const more = logLikelihoods(
        { ...canary, hits: random.binomial(canary.trials, p) },
        { ...stable, hits: random.binomial(stable.trials, p) },
        ratios,
      );
      logs = logs.map((log, at) => log + (more[at] ?? 0));
      if (logMeanExp(logs) >= Math.log(1 / alpha)) return true;
    }
    return false;
  });
  expect(rate).toBeLessThan(allowed);
});

test('the SPRT keeps alpha and beta at every observation, and takes as many as Wald says', () => {
  const [p0, p1, a, b] = [0.02, 0.05, 0.05, 0.1];
  const { upper, lower } = sprtBounds(a, b);
  let trials = 0;
  const ends = (p: number) => (seed: number) => {
    const random = createRandom(seed);
    for (let log = 0; ; trials++) {
      if (log >= upper || log <= lower) return log >= upper;
      log += bernoulliLogRatio(p1, p0, { trials: 1, hits: random.unit() < p ? 1 : 0 });
    }
  };
  expect(everAlarmed(runs, ends(p0))).toBeLessThan(allowed);
  // Wald's approximation leaves out the overshoot of the boundary, a few per cent
  expect(trials / runs / sprtTrials(p0, p1, p0, a, b)).toBeGreaterThan(0.9);
  expect(trials / runs / sprtTrials(p0, p1, p0, a, b)).toBeLessThan(1.25);
  expect(everAlarmed(runs, ends(p1))).toBeGreaterThan(1 - b - 3 * Math.sqrt((b * (1 - b)) / runs));
});

test('confidence sequences and the tests of differences keep alpha at every observation, with unequal traffic', () => {
  const tightestAt = 300;
  const rateOf = mixingRate(alpha, tightestAt);
  const alarms = { sequence: 0, difference: 0, msprt: 0, naive: 0 };
  for (let seed = 1; seed <= runs; seed++) {
    const random = createRandom(seed + 7_000);
    const seen = { sequence: false, difference: false, msprt: false, naive: false };
    let [canary, stable] = [momentsOf([]), momentsOf([])];
    for (let at = 0; at < 3_000; at++) {
      const value = random.unit() < 0.3 ? 1 : 0;
      const one = { count: 1, mean: value, squares: 0 };
      if (random.unit() < 0.2) canary = mergeMoments(canary, one);
      else stable = mergeMoments(stable, one);
      if (canary.count < 100) continue;
      const sigma = Math.sqrt(canary.squares / (canary.count - 1));
      const radius = confidenceRadius(canary.count, sigma, alpha, tightestAt);
      const hits = ({ count, mean }: Moments) => ({ trials: count, hits: count * mean });
      seen.sequence ||= Math.abs(canary.mean - 0.3) > radius;
      seen.difference ||= differenceLogE(canary, stable, 0, rateOf) >= Math.log(1 / alpha);
      seen.msprt ||= msprtTwoRates(hits(canary), hits(stable), 0.01) >= Math.log(1 / alpha);
      seen.naive ||= Math.abs(canary.mean - 0.3) > (1.96 * sigma) / Math.sqrt(canary.count);
    }
    for (const key of ['sequence', 'difference', 'msprt', 'naive'] as const) if (seen[key]) alarms[key]++;
  }
  for (const key of ['sequence', 'difference', 'msprt'] as const) expect(alarms[key] / runs).toBeLessThan(allowed);
  // what all of this is for: the textbook interval, looked at as often, is wrong far more often than 5 %
  expect(alarms.naive / runs).toBeGreaterThan(0.2);
});

test('a regression is found about when its information says', () => {
  const expected = detectionS({ requestsPerS: 200, share: 0.1, stableRate: 0.005, canaryRate: 0.05, alpha: 0.01 });
  let total = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const random = createRandom(seed);
    let [log, seconds] = [0, 0];
    for (; log < Math.log(100); seconds++) {
      const [n, m] = [random.poisson(20), random.poisson(180)];
      const [more = 0] = logLikelihoods(
        { trials: n, hits: random.binomial(n, 0.05) },
        { trials: m, hits: random.binomial(m, 0.005) },
        [10.47],
      );
      log += more;
    }
    total += seconds;
  }
  expect(total / 200 / expected).toBeGreaterThan(0.8);
  expect(total / 200 / expected).toBeLessThan(1.6);
});

test('the p-value of a split is that of SciPy’s distributions', () => {
  for (const { counts, weights, p } of fixture.splits) expect(splitP(counts, weights) / p).toBeCloseTo(1, 9);
  expect(fixture.splits.length).toBe(6);
  expect(splitP([], [1, 1])).toBe(1);
  expect(splitP([10, 1], [1, 0])).toBe(0);
  expect(splitP([10, 0], [1, 0])).toBe(1);
});

test('looking after every unit, a fair split is called unfair in less than alpha of all streams', () => {
  const random = createRandom(11);
  let alarms = 0;
  for (let stream = 0; stream < 1_000; stream++) {
    const counts = [0, 0, 0];
    for (let unit = 0; unit < 2_000; unit++) {
      const point = random.unit();
      const arm = point < 0.6 ? 0 : point < 0.9 ? 1 : 2;
      counts[arm] = (counts[arm] ?? 0) + 1;
      if (unit % 10 === 0 && splitP(counts, [6, 3, 1]) < 0.05) {
        alarms++;
        break;
      }
    }
  }
  // 50 at most are expected; some must be, or the test could not fail
  expect(alarms).toBeGreaterThan(0);
  expect(alarms).toBeLessThanOrEqual(50);
});
