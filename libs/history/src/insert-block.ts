import { Readable } from 'node:stream';
import { MeshError } from '@millrace/kernel';
import { type History, historyError } from './clickhouse.ts';
import type { RowBinaryWriter } from './row-binary.ts';

/** One block is taken whole or not at all. */
const rowsPerBlockMax = 1_000_000;

/**
 * Not above `rowsPerBlockMax` rows are cut into no blocks. Some readers (chDB's of files) hand over 65,409 rows at a time: those are
 * joined until there are `min_insert_block_size_rows`, which is never before the end.
 */
const oneBlock = {
  max_insert_block_size: String(rowsPerBlockMax + 1),
  min_insert_block_size_rows: String(rowsPerBlockMax + 1),
  min_insert_block_size_bytes: '0',
  input_format_parallel_parsing: 0,
  async_insert: 0,
} as const;

export interface Block {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: number;
  /** Holds the rows, the columns in their order. */
  readonly writer: RowBinaryWriter;
}

/** Inserts at most a million rows as one block: all of it is there afterwards, or nothing. */
export async function insertBlock(history: History, { table, columns, rows, writer }: Block): Promise<void> {
  if (rows > rowsPerBlockMax) {
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `an insert of ${rows} rows is over the limit of ${rowsPerBlockMax}; insert fewer at once`,
      { rows, limit: rowsPerBlockMax },
    );
  }
  try {
    const { stream } = await history.client.exec({
      query: `INSERT INTO ${table} (${columns.join(', ')}) FORMAT RowBinary`,
      values: Readable.from([writer.finish()], { objectMode: false }),
      clickhouse_settings: oneBlock,
    });
    for await (const _ of stream) {
      // an insert answers with nothing; reading to the end frees the connection
    }
  } catch (cause) {
    throw historyError(history.url, cause);
  }
}
