/** What an arm did in a slice of time: how many of its trials were hits (errors, slow answers, …). */
export interface RateCount {
  readonly trials: number;
  readonly hits: number;
}

/**
 * The logarithm of P(canary's hits | hits of both, odds ratio) / P(canary's hits | hits of both, 1), for each odds ratio: Fisher's noncentral
 * hypergeometric. Given how many hits both arms had together, how they fell does not depend on the base rate: so slices in which everything
 * fails, and slices of other traffic shares, multiply to a likelihood ratio that is a martingale when the odds are equal, exactly and not
 * only for many trials (Lindon, Sanden & Shirikian 2022 test counts in this way). O(hits × ratios).
 */
export function logLikelihoods(canary: RateCount, stable: RateCount, oddsRatios: readonly number[]): number[] {
  const hits = canary.hits + stable.hits;
  const low = Math.max(0, hits - stable.trials);
  const high = Math.min(hits, canary.trials);
  if (low >= high) return oddsRatios.map(() => 0);
  const logTerms = logWays(canary.trials, stable.trials, hits, low, high);
  const base = logZ(logTerms, low, 0);
  return oddsRatios.map((ratio) => {
    const logRatio = Math.log(ratio);
    return canary.hits * logRatio - logZ(logTerms, low, logRatio) + base;
  });
}

/** ln C(n, u) C(m, hits − u) for u = low … high, less its first. */
function logWays(n: number, m: number, hits: number, low: number, high: number): Float64Array {
  const logs = new Float64Array(high - low + 1);
  for (let u = low; u < high; u++) {
    const step = ((n - u) * (hits - u)) / ((u + 1) * (m - hits + u + 1));
    logs[u - low + 1] = (logs[u - low] as number) + Math.log(step);
  }
  return logs;
}

function logZ(logTerms: Float64Array, low: number, logRatio: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let at = 0; at < logTerms.length; at++) top = Math.max(top, (logTerms[at] as number) + (low + at) * logRatio);
  let sum = 0;
  for (let at = 0; at < logTerms.length; at++) sum += Math.exp((logTerms[at] as number) + (low + at) * logRatio - top);
  return top + Math.log(sum);
}
