export { chiSquareQuantile, ksCritical, ksStatistic, logGamma, psi, psiCritical } from './distribution.ts';
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
