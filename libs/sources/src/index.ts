export { type BatchCheck, type BatchVerdict, compileBatchChecks } from './batch-checks.ts';
export { batchProblems, scheduleProblem } from './batch-problems.ts';
export { changeProblems, changesChanged, isCorrectable, operationProblem } from './change-problems.ts';
export {
  allows,
  type CompatibilityRule,
  compatibilityRule,
  retiredFields,
  type SchemaDelta,
  schemaDeltas,
} from './evolution.ts';
export { expectationProblems, type SourceProblem, treatmentProblems } from './expectation-problems.ts';
export {
  compileFeatureChecks,
  type FeatureBatch,
  type FeatureCheck,
  type FeatureMeasure,
  type FeatureOutcome,
} from './feature-checks.ts';
export { featureExpectationProblems } from './feature-expectation-problems.ts';
export { type IntervalOutcome, intervalOutcome, type Measured, type Outcome } from './interval-outcome.ts';
export {
  type Columns,
  compileRowChecks,
  type RowCheck,
  type RowChecks,
  type RowFailure,
  textReader,
  type UniqueCheck,
} from './row-checks.ts';
export { type SetTaker, setTakerOf } from './set-taker.ts';
export {
  type Check,
  checkNames,
  closesSource,
  intervalOf,
  isRowCheck,
  type Scope,
  type Severity,
  scopeOf,
  severityOf,
} from './severity.ts';
