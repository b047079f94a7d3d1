export { bucketOf, buckets, experimentOf, fractionOf, isCanary, type LayerPart, layerParts } from './assignment.ts';
export {
  type Action,
  advance,
  type Decision,
  type DecisionReason,
  decide,
  type Evidence,
  observe,
  type Progress,
  shadowShareOf,
  shareOf,
  startProgress,
} from './decide.ts';
export type { GuardrailState, Tally } from './guardrail.ts';
export { addPairs, disagree, type Pair, type PairFigures, type PairTally, pairFigures, startPairs } from './pairs.ts';
export {
  checkPlan,
  defaultPlan,
  defaultThreshold,
  type Guardrail,
  type GuardrailKind,
  type LimitGuardrail,
  type PlanStep,
  planMessage,
  type RateGuardrail,
  type RolloutPlan,
  sampleRatioAlpha,
} from './plan.ts';
export { splitP } from './sample-ratio.ts';
export type { Labels } from './simulate/labels.ts';
export { createRandom, type Random } from './simulate/random.ts';
export { type RuleName, ruleNames } from './simulate/rules.ts';
export { type SimulationResult, simulate } from './simulate/simulate.ts';
export {
  type LoggedPrediction,
  loggedTraffic,
  quantilesOf,
  type Regression,
  syntheticTraffic,
  type Traffic,
} from './simulate/traffic.ts';
export { type ArmCounts, addCounts, noCount, noCounts, type Slice } from './slice.ts';
export { splitAlpha } from './statistics/alpha.ts';
export { boundedLogLoss, createLossBlocks, type LossBlocks, lossMax } from './statistics/bets.ts';
export {
  confidenceRadius,
  differenceInterval,
  type Moments,
  mergeMoments,
  momentsOf,
  noMoments,
} from './statistics/means.ts';
export { detectionS, type PowerQuestion, sprtTrials } from './statistics/power.ts';
export type { RateCount } from './statistics/rate-ratio.ts';
export {
  compileTrafficRules,
  type TrafficProblem,
  type TrafficRequest,
  type TrafficRules,
  type TrafficSpec,
  trafficProblems,
} from './traffic-rules.ts';
