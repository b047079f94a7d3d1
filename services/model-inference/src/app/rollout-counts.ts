import {
  type ArmCounts,
  addCounts,
  addPairs,
  createLossBlocks,
  defaultThreshold,
  disagree,
  type Moments,
  mergeMoments,
  noCount,
  noCounts,
  noMoments,
  type Pair,
  type PairTally,
  quantilesOf,
  type RateCount,
  type Slice,
  startPairs,
} from '@millrace/rollouts';

/** What became of one call's rows of one arm. */
export type Served =
  | { readonly t: 'failed' }
  | { readonly t: 'answered'; readonly ms: number; readonly scores: readonly number[] };

/** What became of a call to a shadow. */
export type Shadowed =
  | { readonly t: 'failed' }
  | { readonly t: 'dropped' }
  | {
      readonly t: 'paired';
      readonly pairs: readonly Pair[];
      readonly ms: { readonly canary: number; readonly stable: number };
    };

/** What the stable arm's first answers say: the milliseconds beyond which an answer is slow, and edges of bins of scores. */
export interface Baseline {
  readonly slowMs: number | undefined;
  readonly scoreEdges: readonly number[] | undefined;
}

export interface TrafficCounts {
  add(isCanary: boolean, served: Served): void;
  /** The outcome of a prediction came: its loss. */
  judged(isCanary: boolean, loss: number): void;
  shadowed(outcome: Shadowed): void;
  /** A unit took part; the first time in a step counts. */
  exposed(unit: string, isCanary: boolean): void;
  /** What was counted since the last time. */
  take(): Slice;
  newStep(): void;
  readonly baseline: Baseline;
  readonly pairs: PairTally;
}

/** Answers and scores that the baseline is made of. */
const baselineAnswers = 100;
const baselineScores = 200;
const binCount = 10;
/** Units remembered in a step; the split of those that come later is not checked. */
const unitsMax = 200_000;

interface OpenArm {
  calls: number;
  errors: number;
  timed: number;
  slow: number;
  notFinite: number;
  units: number;
  bins: number[];
  losses: Moments;
}

const emptyArm = (): OpenArm => ({
  calls: 0,
  errors: 0,
  timed: 0,
  slow: 0,
  notFinite: 0,
  units: 0,
  bins: [],
  losses: noMoments,
});

/** A call of many rows is one trial of errors and latency: its rows share their fate. */
export function createTrafficCounts(
  known: Baseline | undefined,
  knownPairs: PairTally = startPairs(),
  threshold = defaultThreshold,
): TrafficCounts {
  let arms = { canary: emptyArm(), stable: emptyArm() };
  const blocks = createLossBlocks();
  let [pairs, newPairs]: [PairTally, RateCount] = [knownPairs, noCount];
  let units = new Set<string>();
  let { slowMs, scoreEdges } = known ?? { slowMs: undefined, scoreEdges: undefined };
  const latencies: number[] = [];
  const scores: number[] = [];

  function learn(ms: number, more: readonly number[]): void {
    if (slowMs === undefined && latencies.push(ms) >= baselineAnswers) slowMs = quantilesOf(latencies, 20).at(-1);
    if (scoreEdges !== undefined) return;
    for (const score of more) if (Number.isFinite(score)) scores.push(score);
    // equal edges would make bins that nothing falls into
    if (scores.length >= baselineScores) scoreEdges = [...new Set(quantilesOf(scores, binCount))];
  }

  return {
    add(isCanary, served) {
      const arm = isCanary ? arms.canary : arms.stable;
      arm.calls++;
      if (served.t === 'failed') {
        arm.errors++;
        return;
      }
      if (slowMs !== undefined) {
        arm.timed++;
        if (served.ms > slowMs) arm.slow++;
      }
      if (!served.scores.every(Number.isFinite)) arm.notFinite++;
      if (scoreEdges !== undefined) countScores(arm, served.scores, scoreEdges);
      if (!isCanary) learn(served.ms, served.scores);
    },
    judged(isCanary, loss) {
      const arm = isCanary ? arms.canary : arms.stable;
      arm.losses = mergeMoments(arm.losses, { count: 1, mean: loss, squares: 0 });
      blocks.add(isCanary, loss);
    },
    shadowed(outcome) {
      switch (outcome.t) {
        case 'dropped':
          pairs = { ...pairs, dropped: pairs.dropped + 1 };
          return;
        case 'failed':
          pairs = { ...pairs, failed: pairs.failed + 1 };
          newPairs = addCounts(newPairs, { trials: 1, hits: 1 });
          return;
        case 'paired': {
          pairs = addPairs(pairs, outcome.pairs, threshold, outcome.ms);
          const hits = outcome.pairs.filter((pair) => disagree(pair, threshold)).length;
          newPairs = addCounts(newPairs, { trials: outcome.pairs.length, hits });
          return;
        }
        default:
          throw new TypeError(`no outcome ${JSON.stringify(outcome satisfies never)}`);
      }
    },
    exposed(unit, isCanary) {
      if (units.size >= unitsMax || units.has(unit)) return;
      units.add(unit);
      (isCanary ? arms.canary : arms.stable).units++;
    },
    take() {
      const slice = {
        canary: closed(arms.canary),
        stable: closed(arms.stable),
        pairs: newPairs,
        lossDifferences: blocks.take(),
      };
      newPairs = noCount;
      arms = { canary: emptyArm(), stable: emptyArm() };
      return slice;
    },
    newStep() {
      units = new Set();
    },
    get pairs() {
      return pairs;
    },
    get baseline() {
      return { slowMs, scoreEdges };
    },
  };
}

function countScores(arm: OpenArm, scores: readonly number[], edges: readonly number[]): void {
  if (arm.bins.length === 0) arm.bins = new Array<number>(edges.length + 1).fill(0);
  for (const score of scores) {
    if (!Number.isFinite(score)) continue;
    const found = edges.findIndex((edge) => score < edge);
    const bin = found < 0 ? edges.length : found;
    arm.bins[bin] = (arm.bins[bin] ?? 0) + 1;
  }
}

function closed(arm: OpenArm): ArmCounts {
  return {
    ...noCounts,
    errors: { trials: arm.calls, hits: arm.errors },
    latency: { trials: arm.timed, hits: arm.slow },
    notFinite: { trials: arm.calls - arm.errors, hits: arm.notFinite },
    scoreBins: arm.bins,
    losses: arm.losses,
    units: arm.units,
  };
}
