export { type History, type HistoryOptions, historyError, openHistory } from './clickhouse.ts';
export { currentTable, ensureEventTable, insertsEnded, maxSeq, viewEvents } from './event-table.ts';
export { type EventSource, eventTable } from './evolve-table.ts';
export { type ExpectationVerdict, fromVerdictRow, type ResultRow, toVerdictRow } from './expectation-verdict.ts';
export { insertBatches, type PositionedBatch } from './insert-batches.ts';
export { type Block, insertBlock } from './insert-block.ts';
export { RowBinaryWriter } from './row-binary.ts';
export { vectorTable, vectorTablePrefix } from './vector-table.ts';
