import { logNormalCdf } from './normal.ts';

/** Count, mean and the sum of squared deviations: what Welford's update keeps. */
export interface Moments {
  readonly count: number;
  readonly mean: number;
  readonly squares: number;
}

export const noMoments: Moments = { count: 0, mean: 0, squares: 0 };

/** The moments of both (Chan et al. 1979). */
export function mergeMoments(a: Moments, b: Moments): Moments {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const count = a.count + b.count;
  const delta = b.mean - a.mean;
  return {
    count,
    mean: a.mean + (delta * b.count) / count,
    squares: a.squares + b.squares + (delta * delta * a.count * b.count) / count,
  };
}

export function momentsOf(values: Iterable<number>): Moments {
  let [count, mean, squares] = [0, 0, 0];
  for (const value of values) {
    const delta = value - mean;
    mean += delta / ++count;
    squares += delta * (value - mean);
  }
  return { count, mean, squares };
}

export function variance({ count, squares }: Moments): number {
  return count < 2 ? Number.NaN : squares / (count - 1);
}

/**
 * Waudby-Smith et al. 2021, "Time-uniform central limit theory", eq. for a stream of `count` values with standard deviation `sigma`: the
 * mean lies within ± this at all times at once with probability 1 − alpha, asymptotically; tightest near `tightestAt` values.
 */
export function confidenceRadius(count: number, sigma: number, alpha: number, tightestAt: number): number {
  const k = count * mixingRate(alpha, tightestAt);
  return sigma * Math.sqrt(((2 * (k + 1)) / (count * k)) * Math.log(Math.sqrt(k + 1) / alpha));
}

/** r², the variance of the mixture in units of the variance of one value. */
export function mixingRate(alpha: number, tightestAt: number): number {
  const a = -2 * Math.log(alpha);
  return (a + Math.log(a + 1)) / tightestAt;
}

/** The interval, at all times at once, of the canary's mean less the stable arm's; without end until both have two values. */
export function differenceInterval(
  canary: Moments,
  stable: Moments,
  alpha: number,
  tightestAt: number,
): { readonly difference: number; readonly low: number; readonly high: number } {
  const difference = canary.mean - stable.mean;
  const error = standardError(canary, stable);
  if (Number.isNaN(error)) return { difference, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  const radius = confidenceRadius(canary.count, error * Math.sqrt(canary.count), alpha, tightestAt);
  return { difference, low: difference - radius, high: difference + radius };
}

/**
 * The logarithm of an e-value against "the canary's mean less the stable arm's is at most `limit`": the mSPRT of Johari et al. 2017 with a
 * half-normal mixture, so that differences below the limit are no evidence. Asymptotic: not before some hundred values of each arm.
 */
export function differenceLogE(canary: Moments, stable: Moments, limit: number, rate: number): number {
  const error = standardError(canary, stable);
  if (Number.isNaN(error)) return 0;
  const difference = canary.mean - stable.mean - limit;
  // arms without any spread differ for sure or not at all; a sample says nothing of how sure
  if (error === 0) return 0;
  const k = canary.count * rate;
  const z = difference / error;
  return Math.LN2 - 0.5 * Math.log1p(k) + ((z * z) / 2) * (k / (1 + k)) + logNormalCdf(z * Math.sqrt(k / (1 + k)));
}

/**
 * mSPRT for a difference of means with estimate `difference` of variance `v` and mixing variance `tau2`:
 * Λ = √(V / (V + τ²)) exp(τ² d² / (2 V (V + τ²))); 1 / max Λ is an always-valid p-value.
 */
export function msprtLogRatio(difference: number, v: number, tau2: number): number {
  return 0.5 * Math.log(v / (v + tau2)) + (tau2 * difference * difference) / (2 * v * (v + tau2));
}

/** Of two Bernoulli arms of any sizes; 0 while neither has both a hit and a miss. */
export function msprtTwoRates(
  canary: { readonly trials: number; readonly hits: number },
  stable: { readonly trials: number; readonly hits: number },
  tau2: number,
): number {
  const [x, y] = [canary.hits / canary.trials, stable.hits / stable.trials];
  const v = (x * (1 - x)) / canary.trials + (y * (1 - y)) / stable.trials;
  return v > 0 ? msprtLogRatio(x - y, v, tau2) : 0;
}

function standardError(a: Moments, b: Moments): number {
  return Math.sqrt(variance(a) / a.count + variance(b) / b.count);
}
