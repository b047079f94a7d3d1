export { type Hot, type HotOptions, openRedis } from './connection.ts';
export { entityKey, rowField } from './keys.ts';
export { createRowReader, createRowWriter, type RowReader, type RowToWrite, type RowWriter } from './rows.ts';
