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
export { agrees, type OracleEvent, type OracleFilters, type OracleValue, oracleValues } from './oracle.ts';
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
