import type { Guardrail, LimitGuardrail, RateGuardrail } from './plan.ts';
import { type ArmCounts, addCounts, noCount, type Slice } from './slice.ts';
import { betsAbove, betsBelow } from './statistics/bets.ts';
import { logMeanExp } from './statistics/log-sum.ts';
import { differenceLogE, type Moments, mergeMoments, mixingRate, noMoments } from './statistics/means.ts';
import { logLikelihoods, type RateCount } from './statistics/rate-ratio.ts';
import { bernoulliLogRatio } from './statistics/sprt.ts';

/** What one arm did so far, as far as the guardrail looks at it. */
export interface Tally {
  readonly rate: RateCount;
  readonly bins: readonly number[];
  readonly losses: Moments;
}

/** What a guardrail has learnt: plain data, so that it can be kept, shown and continued. */
export interface GuardrailState {
  /** Logarithms of likelihood ratios, one for each alternative, that the canary is worse. */
  readonly worse: readonly number[];
  /** That it is less worse than the margin, */
  readonly better: readonly number[];
  /** and that its rate is negligible. */
  readonly negligible: readonly number[];
  /** The largest logarithm of the e-value that it is worse so far, and that it is good. */
  readonly peakWorse: number;
  readonly peakGood: number;
  readonly canary: Tally;
  readonly stable: Tally;
}

/** Odds ratios beyond the tolerance over which evidence is spread: regressions of 20 % to a hundredfold. */
const worseRatios = [1.2, 1.5, 2, 3, 5, 10, 30, 100] as const;
const betterRatios = [1, 0.7, 0.4] as const;
const smallRates = [0.5, 0.2, 0.01] as const;
/** Odds ratios to a limit of disagreement. */
const aboveLimit = [1.2, 1.5, 2, 3, 6] as const;
const belowLimit = [0.8, 0.6, 0.4, 0.1] as const;
/** Sequences of means are tightest near this many values of the canary, and say nothing before `meansFrom` of each arm. */
const tightestAt = 1_000;
const meansFrom = 100;

const noTally: Tally = { rate: noCount, bins: [], losses: noMoments };

export function startGuardrail(): GuardrailState {
  return { worse: [], better: [], negligible: [], peakWorse: 0, peakGood: 0, canary: noTally, stable: noTally };
}

export function addToGuardrail(guardrail: Guardrail, state: GuardrailState, slice: Slice): GuardrailState {
  switch (guardrail.kind) {
    case 'errors':
      return addRates(guardrail, state, slice.canary.errors, slice.stable.errors);
    case 'latency':
      return addRates(guardrail, state, slice.canary.latency, slice.stable.latency);
    case 'not_finite':
      return addRates(guardrail, state, slice.canary.notFinite, slice.stable.notFinite);
    case 'disagreement':
      return addPairs(guardrail, state, slice.pairs);
    case 'score_shift':
      return addScores(guardrail, state, slice);
    case 'quality':
      return addLosses(guardrail, state, slice);
    default:
      throw new TypeError(`no guardrail ${JSON.stringify(guardrail satisfies never)}`);
  }
}

function addRates(
  { tolerance, margin, negligible }: RateGuardrail,
  state: GuardrailState,
  canary: RateCount,
  stable: RateCount,
): GuardrailState {
  const ratios = [tolerance, margin, ...worseRatios.map((ratio) => ratio * tolerance), ...betterRatios];
  const [atTolerance = 0, atMargin = 0, ...rest] = logLikelihoods(canary, stable, ratios);
  const worse = summed(
    state.worse,
    rest.slice(0, worseRatios.length).map((log) => log - atTolerance),
  );
  const better = summed(
    state.better,
    rest.slice(worseRatios.length).map((log) => log - atMargin),
  );
  const small =
    negligible > 0 ? smallRates.map((part) => bernoulliLogRatio(part * negligible, negligible, canary)) : [];
  return withPeaks(
    {
      ...state,
      worse,
      better,
      negligible: summed(state.negligible, small),
      canary: { ...state.canary, rate: addCounts(state.canary.rate, canary) },
      stable: { ...state.stable, rate: addCounts(state.stable.rate, stable) },
    },
    (next) => [
      logMeanExp(next.worse),
      // two ways to be good, each with half of beta
      Math.max(logMeanExp(next.better), small.length > 0 ? logMeanExp(next.negligible) : 0) - Math.LN2,
    ],
  );
}

function addPairs({ limit }: LimitGuardrail, state: GuardrailState, pairs: RateCount): GuardrailState {
  const logs = (ratios: readonly number[]) =>
    ratios.map((ratio) => bernoulliLogRatio((limit * ratio) / (1 - limit + limit * ratio), limit, pairs));
  return withPeaks(
    {
      ...state,
      worse: summed(state.worse, logs(aboveLimit)),
      better: summed(state.better, logs(belowLimit)),
      canary: { ...state.canary, rate: addCounts(state.canary.rate, pairs) },
    },
    (next) => [logMeanExp(next.worse), logMeanExp(next.better)],
  );
}

/** Asymptotic, at each cut between two bins: the distance of the distribution functions, in either direction. */
function addScores({ limit }: LimitGuardrail, state: GuardrailState, slice: Slice): GuardrailState {
  const tally = (before: Tally, { scoreBins }: ArmCounts) => ({ ...before, bins: summed(before.bins, scoreBins) });
  return withPeaks(
    { ...state, canary: tally(state.canary, slice.canary), stable: tally(state.stable, slice.stable) },
    (next) => {
      const [canary, stable] = [cutMoments(next.canary.bins), cutMoments(next.stable.bins)];
      if (!isEnough(canary[0]) || !isEnough(stable[0])) return [0, 0];
      const rate = mixingRate(0.01, tightestAt);
      const logs = canary.flatMap((a, cut) => {
        const b = stable[cut] as Moments;
        return [
          { worse: evidenceAbove(a, b, limit, rate), good: evidenceAbove(b, a, -limit, rate) },
          { worse: evidenceAbove(b, a, limit, rate), good: evidenceAbove(a, b, -limit, rate) },
        ];
      });
      return [logMeanExp(logs.map(({ worse }) => worse)), Math.min(...logs.map(({ good }) => good))];
    },
  );
}

/** Worse when the canary's mean loss is above the stable arm's by more than nothing, good when by less than the limit; exact, from the first. */
function addLosses({ limit }: LimitGuardrail, state: GuardrailState, slice: Slice): GuardrailState {
  const tally = (before: Tally, { losses }: ArmCounts) => ({ ...before, losses: mergeMoments(before.losses, losses) });
  let { worse, better, peakWorse, peakGood } = state;
  for (const difference of slice.lossDifferences) {
    worse = summed(worse, betsAbove(difference, 0));
    better = summed(better, betsBelow(difference, limit));
    peakWorse = Math.max(peakWorse, logMeanExp(worse));
    peakGood = Math.max(peakGood, logMeanExp(better));
  }
  const tallies = { canary: tally(state.canary, slice.canary), stable: tally(state.stable, slice.stable) };
  return { ...state, ...tallies, worse, better, peakWorse, peakGood };
}

/** As `differenceLogE`, with no evidence at all in place of the little that a difference below the limit is: cheaper, and as valid. */
function evidenceAbove(a: Moments, b: Moments, limit: number, rate: number): number {
  return a.mean - b.mean <= limit ? Number.NEGATIVE_INFINITY : differenceLogE(a, b, limit, rate);
}

function isEnough(moments: Moments | undefined): boolean {
  return (moments?.count ?? 0) >= meansFrom;
}

/** For each cut, of "the score lies below it". */
function cutMoments(bins: readonly number[]): Moments[] {
  const count = bins.reduce((sum, bin) => sum + bin, 0);
  let below = 0;
  return bins.slice(0, -1).map((bin) => {
    below += bin;
    const mean = count === 0 ? 0 : below / count;
    return { count, mean, squares: count * mean * (1 - mean) };
  });
}

function withPeaks(
  next: GuardrailState,
  logs: (state: GuardrailState) => readonly [worse: number, good: number],
): GuardrailState {
  const [worse, good] = logs(next);
  return { ...next, peakWorse: Math.max(next.peakWorse, worse), peakGood: Math.max(next.peakGood, good) };
}

function summed(before: readonly number[], more: readonly number[]): readonly number[] {
  if (before.length === 0) return more;
  if (more.length === 0) return before;
  return more.map((value, index) => (before[index] ?? 0) + value);
}
