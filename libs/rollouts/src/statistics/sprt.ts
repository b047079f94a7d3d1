/** Wald's boundaries on the log-likelihood ratio: bad at or above `upper`, good at or below `lower`. */
export interface SprtBounds {
  readonly upper: number;
  readonly lower: number;
}

/** ln((1 − β) / α) and ln(β / (1 − α)). */
export function sprtBounds(alpha: number, beta: number): SprtBounds {
  return { upper: Math.log((1 - beta) / alpha), lower: Math.log(beta / (1 - alpha)) };
}

/** What a count adds to the log-likelihood ratio of rate `p1` against `p0`. */
export function bernoulliLogRatio(p1: number, p0: number, { trials, hits }: { trials: number; hits: number }): number {
  const misses = trials - hits;
  return (
    (hits === 0 ? 0 : hits * Math.log(p1 / p0)) + (misses === 0 ? 0 : misses * (Math.log1p(-p1) - Math.log1p(-p0)))
  );
}
