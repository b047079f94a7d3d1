import { sprtBounds } from './sprt.ts';

export interface PowerQuestion {
  /** Requests a second of both arms. */
  readonly requestsPerS: number;
  /** The canary's share of them. */
  readonly share: number;
  readonly stableRate: number;
  readonly canaryRate: number;
  readonly alpha: number;
}

/**
 * The seconds after which a regression of this size is found, on average, when the test knew its size: ln(1 / α) over the information of a
 * second, which is the number of hits times the relative entropy of where they fall. A mixture over sizes takes some 30 % longer.
 */
export function detectionS({ requestsPerS, share, stableRate, canaryRate, alpha }: PowerQuestion): number {
  const hits = share * canaryRate + (1 - share) * stableRate;
  const found = (share * canaryRate) / hits;
  const information = relativeEntropy(found, share) * hits * requestsPerS;
  return canaryRate > stableRate ? Math.log(1 / alpha) / information : Number.POSITIVE_INFINITY;
}

/** Wald's approximation of how many trials an SPRT of `p1` against `p0` takes when the rate is `p`. */
export function sprtTrials(p0: number, p1: number, p: number, alpha: number, beta: number): number {
  const { upper, lower } = sprtBounds(alpha, beta);
  const drift = p * Math.log(p1 / p0) + (1 - p) * Math.log((1 - p1) / (1 - p0));
  // exact at both ends: the chance of ending at the upper boundary is alpha under p0 and 1 − beta under p1
  const above = p === p0 ? alpha : p === p1 ? 1 - beta : drift > 0 ? 1 : 0;
  return (above * upper + (1 - above) * lower) / drift;
}

function relativeEntropy(q: number, p: number): number {
  return q * Math.log(q / p) + (1 - q) * Math.log((1 - q) / (1 - p));
}
