export {
  type CustomModel,
  defineModel,
  type LoadContext,
  type ModelSignature,
  type PredictContext,
  type TensorArrays,
  type TensorDatatype,
  type TensorDeclaration,
  type TensorValue,
  type TensorValues,
} from '@millrace/custom-model';
export {
  type FoldOptions,
  groupKFold,
  groupShuffleSplit,
  type HoldOutOptions,
  kFold,
  type Label,
  type ShuffleOptions,
  type Split,
  shuffleSplit,
  stratifiedGroupKFold,
  stratifiedKFold,
  stratifiedShuffleSplit,
  type TimeSeriesOptions,
  timeSeriesSplit,
  trainTestSplit,
} from '@millrace/stats';
export * from './define/index.ts';
export { type Endpoints, findEndpoints, readEndpoints } from './endpoints.ts';

export { listValues, vectorValues } from './list-values.ts';
export {
  type BuildContext,
  buildTrainingSet,
  type LabelSource,
  rebuildTrainingSet,
  type TrainingSetOptions,
} from './training/build.ts';
export type { SamplingOptions, SplitKindName, SplitOptions } from './training/options.ts';
