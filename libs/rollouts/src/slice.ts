import { type Moments, noMoments } from './statistics/means.ts';
import type { RateCount } from './statistics/rate-ratio.ts';

/** What one arm did in a slice of time. */
export interface ArmCounts {
  readonly errors: RateCount;
  readonly latency: RateCount;
  readonly notFinite: RateCount;
  /** How many scores fell into each bin; the same bins in both arms and all slices. */
  readonly scoreBins: readonly number[];
  /** Losses of predictions whose outcome came: to show; the evidence is in `lossDifferences`. */
  readonly losses: Moments;
  /** Units seen for the first time in this step. */
  readonly units: number;
}

/** What happened since the slice before: the unit of evidence, of any length. */
export interface Slice {
  readonly canary: ArmCounts;
  readonly stable: ArmCounts;
  /** Requests that both arms answered, and on how many they disagree. */
  readonly pairs: RateCount;
  /** Of outcomes that came: mean losses of the canary less those of the stable arm, as `createLossBlocks` forms them. */
  readonly lossDifferences: readonly number[];
}

export const noCount: RateCount = { trials: 0, hits: 0 };

export const noCounts: ArmCounts = {
  errors: noCount,
  latency: noCount,
  notFinite: noCount,
  scoreBins: [],
  losses: noMoments,
  units: 0,
};

export function addCounts(a: RateCount, b: RateCount): RateCount {
  return { trials: a.trials + b.trials, hits: a.hits + b.hits };
}
