export { alignColumns } from './align.ts';
export { asOfSql } from './as-of-sql.ts';
export type { BoundBatch } from './bound-batch.ts';
export { valueOfNothing } from './cells/cell.ts';
export { checkView, type ViewProblem } from './check-view.ts';
export { type CompiledView, compileView } from './compiled-view.ts';
export {
  asOfName,
  type CompiledDerived,
  checkableFeatures,
  compileDerived,
  type DerivedProblem,
  type DerivedVariable,
  derivedMax,
  derivedOf,
  derivedVariables,
} from './derived.ts';
export { entityKey } from './entity-key.ts';
export { columnReader } from './expression/columns.ts';
export { ExpressionError } from './expression/compile.ts';
export { type CompiledExpression, compileExpression, type Variable } from './expression/expression.ts';
export { type CompiledFilter, compileFilter } from './expression/filter.ts';
export type { Value } from './expression/node.ts';
export { finiteSql } from './expression/sql-pieces.ts';
export { viewFeatureTypes } from './feature-types.ts';
export { elementOf, isListType } from './list-codec.ts';
export { isRangeable, type RangeOptions, rangeSettings, rangeSql } from './range/range-sql.ts';
export { rowFormat } from './row-layout.ts';
export { compileRowReader, type RowReader, rowView } from './row-reader.ts';
export { sqlName } from './sql-names.ts';
export type { EntityState } from './state.ts';
export { tilesSql } from './tiles-sql.ts';
export type {
  AggregationFunction,
  Column,
  DerivedDefinition,
  ElementType,
  EventColumns,
  FeatureDefinition,
  FeatureType,
  FeatureValue,
  FieldType,
  JoinKeyDefinition,
  List,
  Operand,
  Scalar,
  SchemaType,
  SourceField,
  VectorType,
  ViewDefinition,
  WindowSpec,
} from './types.ts';
export { dimensionMax, dimensionOf, isVectorType, vectorBytes, vectorOf, vectorType } from './vectors.ts';
export { currentSql, versionsSql } from './versions-sql.ts';
export {
  defaultHopUs,
  floorTo,
  rateSeconds,
  resolveWindow,
  windowProblem,
  windowReachUs,
  windowStart,
} from './windows.ts';
