export { type Hot, type HotOptions, openRedis } from './connection.ts';
export { entityKey, rowField } from './keys.ts';
export { createRowReader, createRowWriter, type RowReader, type RowWriter } from './rows.ts';
export type { RowToWrite } from './write-command.ts';
