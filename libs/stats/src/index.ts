export {
  chiSquareQuantile,
  jensenShannon,
  ksCritical,
  ksOfBins,
  ksStatistic,
  logGamma,
  psi,
  psiCritical,
} from './distribution.ts';
export {
  type ColumnDrift,
  type DriftOptions,
  DriftWatch,
  driftDefaults,
  proportionZ,
} from './drift/drift-watch.ts';
export { type OutlierScales, outlierMax, outlierOf, outlierScales } from './drift/outlier.ts';
export { binOf, type ColumnProfile, type ModelProfile, parseProfile, profileFormat } from './drift/profile.ts';
export { createProfiler, type Profiler } from './drift/profiler.ts';
export { auc, logLoss } from './quality.ts';
export {
  groupKFold,
  kFold,
  stratifiedKFold,
  type TimeSeriesOptions,
  timeSeriesSplit,
} from './selection/folds.ts';
export { encodeLabels, type Label } from './selection/labels.ts';
export { createRandomState, type RandomState } from './selection/random-state.ts';
export {
  groupShuffleSplit,
  type HoldOutOptions,
  type ShuffleOptions,
  shuffleSplit,
  stratifiedShuffleSplit,
  trainTestSplit,
} from './selection/shuffles.ts';
export type { FoldOptions, Split } from './selection/split.ts';
export { stratifiedGroupKFold } from './selection/stratified-group-k-fold.ts';
