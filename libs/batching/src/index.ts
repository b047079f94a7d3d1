export { type CostModel, createCostModel } from './cost-model.ts';
export {
  type BatchReport,
  createDispatcher,
  type Dispatcher,
  type LaneHandle,
  type LaneOptions,
  type SubmitOptions,
} from './dispatcher.ts';
export { ageingMs, Lane, type LanePolicy, type Level, type Ticket, urgencyOf } from './lane.ts';
export { type Batch, type Offered, Scheduler, type Taken } from './scheduler.ts';
