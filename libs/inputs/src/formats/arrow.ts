import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { MeshError, setField } from '@millrace/kernel';
import { DataType, type RecordBatch, RecordBatchReader, type Vector } from 'apache-arrow';
import { chunkRowsMax, type InputRow, Instant, type RowChunk, type RowReader } from '../rows.ts';

/** Arrow files and streams; one record batch is in memory at a time. */
export async function openArrow(path: string): Promise<RowReader> {
  const { columns, source } = await openReader(path);
  await source.cancel();
  return {
    columns,
    async *chunks(): AsyncIterable<RowChunk> {
      const { size } = await stat(path);
      const reading = await openReader(path);
      let before = 0;
      for await (const batch of reading.source) {
        const read = columnReaders(batch);
        for (let from = 0; from < batch.numRows; from += chunkRowsMax) {
          const to = Math.min(from + chunkRowsMax, batch.numRows);
          yield { rows: rowsOf(read, before, from, to), bytesRead: Math.min(reading.bytesRead(), size) };
        }
        before += batch.numRows;
      }
    },
  };
}

async function openReader(path: string) {
  const bytes = createReadStream(path);
  try {
    const source = await (await RecordBatchReader.from(bytes)).open();
    return { source, columns: source.schema.fields.map(({ name }) => name), bytesRead: () => bytes.bytesRead };
  } catch (cause) {
    bytes.destroy();
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      `"${path}" is not Arrow: ${(cause as Error).message}`,
      { path },
      { cause },
    );
  }
}

type ReadValue = (row: number) => unknown;

function columnReaders(batch: RecordBatch): readonly (readonly [name: string, read: ReadValue])[] {
  return batch.schema.fields.map(({ name, type }, at) => {
    const vector = batch.getChildAt(at);
    return [name, vector === null ? () => null : readerOf(vector, type)] as const;
  });
}

/** Times come from the library as milliseconds with a fraction. */
function readerOf(vector: Vector, type: DataType): ReadValue {
  if (DataType.isTimestamp(type) || DataType.isDate(type)) {
    return (row) => {
      const ms: unknown = vector.get(row);
      return ms === null ? null : new Instant(Math.round(Number(ms) * 1000));
    };
  }
  return (row) => vector.get(row);
}

function rowsOf(read: ReturnType<typeof columnReaders>, before: number, from: number, to: number): InputRow[] {
  return Array.from({ length: to - from }, (_, at) => {
    const fields: Record<string, unknown> = {};
    for (const [name, value] of read) setField(fields, name, value(from + at));
    return { t: 'row', number: before + from + at + 1, fields };
  });
}
