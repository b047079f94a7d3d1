import { type ArmCounts, noCount, noCounts, type Slice } from '../slice.ts';
import { logNormalCdf } from '../statistics/normal.ts';
import { drawLosses, type LabelledRow, type Labels, lossesOf, noLosses } from './labels.ts';
import type { Random } from './random.ts';

/** How the canary differs from what the stable arm does. */
export interface Regression {
  readonly stableErrorRate: number;
  readonly canaryErrorRate: number;
  /** Latencies of the canary relative to the stable arm's: 1.2 is 20 % slower. */
  readonly slowdown: number;
  /** Added to the canary's scores. */
  readonly scoreShift: number;
  /** Unless there are outcomes, no losses are drawn. */
  readonly labels?: Labels | undefined;
}

/** Traffic of one run: what both arms did in the next second, with the canary's share of it; undefined at its end. */
export type NextSlice = (share: number) => Slice | undefined;
export type Traffic = (random: Random) => NextSlice;

/** Bins of scores: tenths of the stable arm's. */
const tenths = 10;
/** The share of the stable arm's answers that count as slow. */
const slowShare = 0.05;
/** ln-normal latencies and normal scores of classifiers in production: a p99 of three medians, scores 0.2 apart. */
const latencySigma = 0.5;
const scoreSigma = 0.2;
const cuts = Array.from({ length: tenths - 1 }, (_, at) => quantile((at + 1) / tenths));

/** Poisson arrivals, each request on its own. */
export function syntheticTraffic(requestsPerS: number, seconds: number, regression: Regression): Traffic {
  const slow = 1 - cdf(quantile(1 - slowShare) - Math.log(regression.slowdown) / latencySigma);
  const canary = { errors: regression.canaryErrorRate, slow, bins: binShares(regression.scoreShift / scoreSigma) };
  const stable = { errors: regression.stableErrorRate, slow: slowShare, bins: binShares(0) };
  return (random) => {
    let second = 0;
    return (share) => {
      if (second++ >= seconds) return undefined;
      const arms = {
        canary: draw(random, random.poisson(requestsPerS * share), canary),
        stable: draw(random, random.poisson(requestsPerS * (1 - share)), stable),
      };
      const { labels } = regression;
      const losses = labels ? drawLosses(random, labels, arms.canary.units, arms.stable.units) : noLosses;
      return {
        canary: { ...arms.canary, losses: losses.canary },
        stable: { ...arms.stable, losses: losses.stable },
        pairs: noCount,
        lossDifferences: losses.differences,
      };
    };
  };
}

interface Behaviour {
  readonly errors: number;
  readonly slow: number;
  readonly bins: readonly number[];
}

function draw(random: Random, requests: number, { errors: errorRate, slow, bins }: Behaviour): ArmCounts {
  const errors = random.binomial(requests, errorRate);
  let [left, shareLeft] = [requests - errors, 1];
  const scoreBins = bins.map((share, at) => {
    const count = at === bins.length - 1 ? left : random.binomial(left, Math.min(1, share / shareLeft));
    left -= count;
    shareLeft -= share;
    return count;
  });
  return {
    ...noCounts,
    errors: { trials: requests, hits: errors },
    latency: { trials: requests, hits: random.binomial(requests, slow) },
    notFinite: { trials: requests - errors, hits: 0 },
    scoreBins,
    units: requests,
  };
}

function binShares(shift: number): number[] {
  const below = [0, ...cuts.map((cut) => cdf(cut - shift)), 1];
  return below.slice(1).map((edge, at) => edge - (below[at] ?? 0));
}

/** A logged prediction. */
export interface LoggedPrediction {
  readonly predictedUs: number;
  readonly score: number;
  readonly latencyMs: number | undefined;
  readonly isError: boolean;
  /** Of the event that was predicted, where it is known. */
  readonly outcome?: boolean | undefined;
}

/**
 * Replays logged predictions at the times they were made, over and over until `seconds` are full: each goes to the canary by lot. What the
 * canary does is what was logged, with the regression on top; the stable error rate is the log's.
 */
export function loggedTraffic(log: readonly LoggedPrediction[], seconds: number, regression: Regression): Traffic {
  const bySecond = secondsOf(log);
  const edges = quantilesOf(log.map(({ score }) => score).filter(Number.isFinite), tenths);
  const latencies = log.flatMap(({ latencyMs }) => (latencyMs === undefined ? [] : [latencyMs]));
  const slowMs = quantilesOf(latencies, 1 / slowShare).at(-1) ?? Number.POSITIVE_INFINITY;
  const logged = log.filter(({ isError }) => isError).length / log.length;
  const extra = Math.max(0, (regression.canaryErrorRate - regression.stableErrorRate) / (1 - logged));
  return (random) => {
    let second = Math.floor(random.unit() * bySecond.length);
    const last = second + seconds;
    return (share) => {
      if (second >= last) return undefined;
      const rows = bySecond[second++ % bySecond.length] ?? [];
      const arms = { canary: emptyArm(), stable: emptyArm() };
      const labelled: LabelledRow[] = [];
      for (const row of rows) {
        const isCanary = random.unit() < share;
        const isError = row.isError || (isCanary && random.unit() < extra);
        const slower = isCanary ? regression.slowdown : 1;
        const shift = isCanary ? regression.scoreShift : 0;
        if (!isError && row.outcome !== undefined && !Number.isNaN(row.score))
          labelled.push({ isCanary, score: row.score, positive: row.outcome });
        count(isCanary ? arms.canary : arms.stable, row, isError, slower, shift, edges, slowMs);
      }
      const losses = lossesOf(random, regression.labels?.scoreNoise ?? 0, labelled);
      return {
        canary: { ...closed(arms.canary), losses: losses.canary },
        stable: { ...closed(arms.stable), losses: losses.stable },
        pairs: noCount,
        lossDifferences: losses.differences,
      };
    };
  };
}

interface OpenArm {
  requests: number;
  errors: number;
  timed: number;
  slow: number;
  notFinite: number;
  readonly bins: number[];
}

function emptyArm(): OpenArm {
  return { requests: 0, errors: 0, timed: 0, slow: 0, notFinite: 0, bins: new Array<number>(tenths).fill(0) };
}

function count(
  arm: OpenArm,
  { score, latencyMs }: LoggedPrediction,
  isError: boolean,
  slower: number,
  shift: number,
  edges: readonly number[],
  slowMs: number,
): void {
  arm.requests++;
  if (latencyMs !== undefined) arm.timed++;
  if (latencyMs !== undefined && latencyMs * slower > slowMs) arm.slow++;
  if (isError) arm.errors++;
  else if (!Number.isFinite(score)) arm.notFinite++;
  else {
    const bin = edges.findIndex((edge) => score + shift < edge);
    const at = bin < 0 ? edges.length : bin;
    arm.bins[at] = (arm.bins[at] ?? 0) + 1;
  }
}

function closed({ requests, errors, timed, slow, notFinite, bins }: OpenArm): ArmCounts {
  return {
    ...noCounts,
    errors: { trials: requests, hits: errors },
    latency: { trials: timed, hits: slow },
    notFinite: { trials: requests - errors, hits: notFinite },
    scoreBins: bins,
    units: requests,
  };
}

function secondsOf(log: readonly LoggedPrediction[]): LoggedPrediction[][] {
  const sorted = [...log].sort((a, b) => a.predictedUs - b.predictedUs);
  const from = sorted[0]?.predictedUs ?? 0;
  const seconds: LoggedPrediction[][] = [];
  for (const row of sorted) {
    const at = Math.floor((row.predictedUs - from) / 1e6);
    while (seconds.length <= at) seconds.push([]);
    seconds[at]?.push(row);
  }
  return seconds;
}

/** The values at 1/parts, 2/parts, …, (parts − 1)/parts; none of nothing. */
export function quantilesOf(values: readonly number[], parts: number): number[] {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return [];
  return Array.from(
    { length: Math.round(parts) - 1 },
    (_, at) => sorted[Math.floor(((at + 1) * sorted.length) / parts)] ?? 0,
  );
}

function cdf(z: number): number {
  return Math.exp(logNormalCdf(z));
}

/** By bisection: Φ grows. */
function quantile(p: number): number {
  let [low, high] = [-10, 10];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (cdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
