import { Readable } from 'node:stream';
import { MeshError } from '@millrace/kernel';
import { type History, historyError } from './clickhouse.ts';
import { type EventSource, envelopeColumns, eventTable } from './event-table.ts';
import { RowBinaryWriter } from './row-binary.ts';

/** A column of a batch, as `@millrace/events` decodes it. */
export type EventColumn =
  | { readonly type: 'f64'; readonly values: Float64Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'i64'; readonly values: BigInt64Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'bool'; readonly values: Uint8Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'str'; readonly values: readonly string[]; readonly nulls: Uint8Array | null };

export interface PositionedBatch {
  readonly seq: number;
  readonly batch: {
    readonly knownTimeUs: number;
    readonly count: number;
    readonly ids: readonly string[];
    readonly eventTimeUs: Float64Array;
    readonly columns: ReadonlyMap<string, EventColumn>;
  };
}

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

/**
 * Inserts at most a million rows as one block: all of it is there afterwards, or nothing. Returns the number of rows. A field that a batch of an older
 * schema does not have is null, or the type's zero where null is not allowed.
 */
export async function insertBatches(
  history: History,
  source: EventSource,
  batches: readonly PositionedBatch[],
): Promise<number> {
  const rows = batches.reduce((sum, { batch }) => sum + batch.count, 0);
  if (rows === 0) return 0;
  if (rows > rowsPerBlockMax) {
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `an insert of ${rows} rows is over the limit of ${rowsPerBlockMax}; insert fewer batches at once`,
      { rows, limit: rowsPerBlockMax },
    );
  }
  const writer = new RowBinaryWriter();
  for (const positioned of batches) writeRows(writer, source, positioned);
  const columns = [...envelopeColumns, ...source.fields.map(({ name }) => `\`${name}\``)].join(', ');
  try {
    const { stream } = await history.client.exec({
      query: `INSERT INTO ${eventTable(source.name)} (${columns}) FORMAT RowBinary`,
      values: Readable.from([writer.finish()], { objectMode: false }),
      clickhouse_settings: oneBlock,
    });
    for await (const _ of stream) {
      // an insert answers with nothing; reading to the end frees the connection
    }
  } catch (cause) {
    throw historyError(history.url, cause);
  }
  return rows;
}

type WriteCell = (writer: RowBinaryWriter, row: number) => void;

function writeRows(writer: RowBinaryWriter, source: EventSource, { seq, batch }: PositionedBatch): void {
  const cells = source.fields.map((field) => cellWriter(field, batch.columns.get(field.name)));
  for (let row = 0; row < batch.count; row++) {
    writer.string(batch.ids[row] ?? '');
    writer.int64(batch.eventTimeUs[row] ?? 0);
    writer.int64(batch.knownTimeUs);
    writer.int64(seq);
    writer.uint32(row);
    for (const cell of cells) cell(writer, row);
  }
}

function cellWriter(field: EventSource['fields'][number], column: EventColumn | undefined): WriteCell {
  const value = valueWriter(field, column);
  const { nullable } = field;
  const nulls = column?.nulls;
  if (!nullable) return value;
  return (writer, row) => {
    const isNull = column === undefined || nulls?.[row] === 1;
    writer.uint8(isNull ? 1 : 0);
    if (!isNull) value(writer, row);
  };
}

function valueWriter({ type }: EventSource['fields'][number], column: EventColumn | undefined): WriteCell {
  switch (column?.type) {
    case 'f64':
      return (writer, row) => writer.float64(column.values[row] ?? 0);
    case 'i64':
      return (writer, row) => writer.bigint64(column.values[row] ?? 0n);
    case 'bool':
      return (writer, row) => writer.uint8(column.values[row] ?? 0);
    case 'str':
      return (writer, row) => writer.string(column.values[row] ?? '');
    case undefined:
      if (type === 'STRING') return (writer) => writer.string('');
      if (type === 'BOOL') return (writer) => writer.uint8(0);
      return (writer) => writer.int64(0);
    default:
      return column satisfies never;
  }
}
