import { alignColumns, type Column, isVectorType } from '@millrace/features';
import type { History } from './clickhouse.ts';
import { envelopeColumns, operationColumn } from './event-table.ts';
import { type EventSource, eventTable } from './evolve-table.ts';
import { insertBlock } from './insert-block.ts';
import { RowBinaryWriter } from './row-binary.ts';

export interface PositionedBatch {
  readonly seq: number;
  readonly batch: {
    readonly knownTimeUs: number;
    readonly count: number;
    readonly ids: readonly string[];
    readonly eventTimeUs: Float64Array;
    readonly columns: ReadonlyMap<string, Column>;
    readonly changes?: { readonly operations: Uint8Array };
  };
}

/**
 * Inserts at most a million rows as one block: all of it is there afterwards, or nothing. Returns the number of rows. A field that a batch of an older
 * schema does not have is its default, else null, or the type's zero where null is not allowed. `source.fields` are the table's.
 */
export async function insertBatches(
  history: History,
  source: EventSource,
  batches: readonly PositionedBatch[],
): Promise<number> {
  const rows = batches.reduce((sum, { batch }) => sum + batch.count, 0);
  if (rows === 0) return 0;
  const writer = new RowBinaryWriter();
  for (const positioned of batches) writeRows(writer, source, positioned);
  const operation = source.isCorrectable ? [operationColumn] : [];
  const columns = [...envelopeColumns, ...operation, ...source.fields.map(({ name }) => `\`${name}\``)];
  await insertBlock(history, { table: eventTable(source.name), columns, rows, writer });
  return rows;
}

type WriteCell = (writer: RowBinaryWriter, row: number) => void;

function writeRows(writer: RowBinaryWriter, source: EventSource, { seq, batch }: PositionedBatch): void {
  const { columns } = alignColumns(source.fields)(batch);
  const cells = source.fields.map((field) => cellWriter(field, columns.get(field.name)));
  for (let row = 0; row < batch.count; row++) {
    writer.string(batch.ids[row] ?? '');
    writer.int64(batch.eventTimeUs[row] ?? 0);
    writer.int64(batch.knownTimeUs);
    writer.int64(seq);
    writer.uint32(row);
    if (source.isCorrectable) writer.uint8(batch.changes?.operations[row] ?? 0);
    for (const cell of cells) cell(writer, row);
  }
}

function cellWriter(field: EventSource['fields'][number], column: Column | undefined): WriteCell {
  const value = valueWriter(field, column);
  const { nullable } = field;
  const nulls = column?.nulls;
  // a vector that is null is empty, whatever the schema says
  if (isVectorType(field.type)) return (writer, row) => (nulls?.[row] === 1 ? writer.length(0) : value(writer, row));
  if (!nullable) return value;
  return (writer, row) => {
    const isNull = column === undefined || nulls?.[row] === 1;
    writer.uint8(isNull ? 1 : 0);
    if (!isNull) value(writer, row);
  };
}

function valueWriter({ type }: EventSource['fields'][number], column: Column | undefined): WriteCell {
  switch (column?.type) {
    case 'f64':
      return (writer, row) => writer.float64(column.values[row] ?? 0);
    case 'i64':
      return (writer, row) => writer.bigint64(column.values[row] ?? 0n);
    case 'bool':
      return (writer, row) => writer.uint8(column.values[row] ?? 0);
    case 'str':
      return (writer, row) => writer.string(column.values[row] ?? '');
    case 'vec':
      return (writer, row) => writer.float32s(column.values, row * column.dimension, column.dimension);
    case undefined:
      if (isVectorType(type)) return (writer) => writer.length(0);
      if (type === 'STRING') return (writer) => writer.string('');
      if (type === 'BOOL') return (writer) => writer.uint8(0);
      return (writer) => writer.int64(0);
    default:
      return column satisfies never;
  }
}
