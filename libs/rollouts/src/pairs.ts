import { logNormalCdf } from './statistics/normal.ts';

/** A score that both arms gave for the same row. */
export interface Pair {
  readonly stable: number;
  readonly canary: number;
}

/** What pairs of answers to the same requests say: plain data. */
export interface PairTally {
  readonly pairs: number;
  /** On which the arms disagree, with those on which only one gave a finite score. */
  readonly disagreed: number;
  /** Above the threshold for the canary alone, and for the stable arm alone. */
  readonly onlyCanary: number;
  readonly onlyStable: number;
  /** Of pairs of finite scores: how many, the sum of |Δ|, and how many fell into each bin of |Δ|. */
  readonly measured: number;
  readonly differences: number;
  readonly bins: readonly number[];
  /** Calls that both answered, and the sums of their milliseconds. */
  readonly calls: number;
  readonly canaryMs: number;
  readonly stableMs: number;
  /** Calls that the canary did not answer, or that were not sent to it as too many waited. */
  readonly failed: number;
  readonly dropped: number;
}

export interface PairFigures {
  /** Of |Δ|; NaN without pairs. The quantile is exact to 6 %. */
  readonly meanDifference: number;
  readonly p95Difference: number;
  /** McNemar's two-sided p with Edwards' correction; for one look. */
  readonly mcnemarP: number;
}

/** From 10⁻⁶ to 10, twenty a decade. */
const perDecade = 20;
const smallest = 1e-6;
const binCount = 7 * perDecade + 1;

export function startPairs(): PairTally {
  const none = { pairs: 0, disagreed: 0, onlyCanary: 0, onlyStable: 0, measured: 0, differences: 0, bins: [] };
  return { ...none, calls: 0, canaryMs: 0, stableMs: 0, failed: 0, dropped: 0 };
}

/** Whether two scores lie on different sides of the threshold, or only one of them is a number at all. */
export function disagree({ stable, canary }: Pair, threshold: number): boolean {
  if (!Number.isFinite(stable) || !Number.isFinite(canary)) return Number.isFinite(stable) !== Number.isFinite(canary);
  return stable >= threshold !== canary >= threshold;
}

/** A call that both arms answered. */
export function addPairs(
  tally: PairTally,
  pairs: readonly Pair[],
  threshold: number,
  ms: { readonly canary: number; readonly stable: number },
): PairTally {
  let { disagreed, onlyCanary, onlyStable, measured, differences } = tally;
  const bins = tally.bins.length === 0 ? new Array<number>(binCount).fill(0) : [...tally.bins];
  for (const pair of pairs) {
    if (disagree(pair, threshold)) {
      disagreed++;
      if (pair.canary >= threshold) onlyCanary++;
      else if (pair.stable >= threshold) onlyStable++;
    }
    const difference = Math.abs(pair.canary - pair.stable);
    if (!Number.isFinite(difference)) continue;
    measured++;
    differences += difference;
    const bin = binOf(difference);
    bins[bin] = (bins[bin] ?? 0) + 1;
  }
  return {
    ...tally,
    pairs: tally.pairs + pairs.length,
    disagreed,
    onlyCanary,
    onlyStable,
    measured,
    differences,
    bins,
    calls: tally.calls + 1,
    canaryMs: tally.canaryMs + ms.canary,
    stableMs: tally.stableMs + ms.stable,
  };
}

export function pairFigures({ measured, differences, bins, onlyCanary, onlyStable }: PairTally): PairFigures {
  return {
    meanDifference: measured === 0 ? Number.NaN : differences / measured,
    p95Difference: quantileOf(bins, 0.95),
    mcnemarP: mcnemar(onlyCanary, onlyStable),
  };
}

function mcnemar(a: number, b: number): number {
  if (a + b === 0) return 1;
  const z = Math.max(0, Math.abs(a - b) - 1) / Math.sqrt(a + b);
  return Math.min(1, 2 * Math.exp(logNormalCdf(-z)));
}

function binOf(difference: number): number {
  if (difference < smallest) return 0;
  return Math.min(binCount - 1, 1 + Math.floor(perDecade * Math.log10(difference / smallest)));
}

/** The middle of the bin that it falls into, on the logarithmic scale. */
function quantileOf(bins: readonly number[], q: number): number {
  let left = q * bins.reduce((sum, bin) => sum + bin, 0);
  if (left === 0) return Number.NaN;
  const at = bins.findIndex((bin) => {
    left -= bin;
    return left <= 0;
  });
  return at === 0 ? 0 : smallest * 10 ** ((at - 0.5) / perDecade);
}
