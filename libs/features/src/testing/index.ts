export { agrees } from './agrees.ts';
export { columnsOf } from './columns.ts';
export {
  expressionFields,
  type Random,
  type RandomExpression,
  randomExpression,
  randomOf,
  randomRow,
} from './expressions.ts';
export { computedView, inputView, withComputed } from './inputs.ts';
export { type OracleFilters, oracleValues } from './oracle.ts';
export type { OracleEvent, OracleValue } from './oracle-value.ts';
export {
  everyFeature,
  everyView,
  viewOf,
  type WorldEvent,
  worldEvents,
  worldFields,
  worldFilters,
  worldReadTimes,
  worldStartUs,
  worldViews,
  worldWindowKinds,
  worldWindows,
} from './worlds.ts';
