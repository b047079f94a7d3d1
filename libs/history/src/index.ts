export { type History, type HistoryOptions, openHistory } from './clickhouse.ts';
export { type EventSource, ensureEventTable, eventTable, insertsEnded, maxSeq } from './event-table.ts';
export { type EventColumn, insertBatches, type PositionedBatch } from './insert-batches.ts';
export { type Block, insertBlock } from './insert-block.ts';
export { RowBinaryWriter } from './row-binary.ts';
