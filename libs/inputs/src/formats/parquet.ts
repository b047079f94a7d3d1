import { MeshError, setField } from '@millrace/kernel';
import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetRead, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { chunkRowsMax, type InputRow, Instant, type RowChunk, type RowReader } from '../rows.ts';

/** One row group is in memory at a time. */
const groupBytesMax = 1024 ** 3;

const parsers = {
  timestampFromMilliseconds: (millis: bigint) => new Instant(Number(millis) * 1000),
  timestampFromMicroseconds: (micros: bigint) => new Instant(Number(micros)),
  timestampFromNanoseconds: (nanos: bigint) => new Instant(Number(nanos / 1000n)),
  dateFromDays: (days: number) => new Instant(days * 86_400e6),
};

/** LIMIT_EXCEEDED when a row group would not fit into memory. */
export async function openParquet(path: string): Promise<RowReader> {
  const file = await asyncBufferFromFile(path);
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file);
  } catch (cause) {
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      `"${path}" is not Parquet: ${(cause as Error).message}`,
      { path },
      { cause },
    );
  }
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  return {
    columns,
    async *chunks(): AsyncIterable<RowChunk> {
      let rowStart = 0;
      for (const group of metadata.row_groups) {
        const bytes = Number(group.total_byte_size);
        if (bytes > groupBytesMax) throw tooLarge(path, bytes);
        const rowEnd = rowStart + Number(group.num_rows);
        const values = await readGroup(path, { file, metadata, rowStart, rowEnd });
        for (let from = rowStart; from < rowEnd; from += chunkRowsMax) {
          const to = Math.min(from + chunkRowsMax, rowEnd);
          yield {
            rows: rowsOf(columns, values, rowStart, from, to),
            bytesRead: bytesUpTo(file.byteLength, to, metadata),
          };
        }
        rowStart = rowEnd;
      }
    },
  };
}

/** The values of a row group by column. */
async function readGroup(
  path: string,
  part: {
    file: Awaited<ReturnType<typeof asyncBufferFromFile>>;
    metadata: FileMetaData;
    rowStart: number;
    rowEnd: number;
  },
): Promise<ReadonlyMap<string, unknown[]>> {
  const values = new Map<string, unknown[]>();
  try {
    await parquetRead({
      ...part,
      compressors,
      parsers,
      onChunk({ columnName, columnData, rowStart }) {
        const column = values.get(columnName) ?? new Array<unknown>(part.rowEnd - part.rowStart);
        for (let at = 0; at < columnData.length; at++) column[rowStart - part.rowStart + at] = columnData[at];
        values.set(columnName, column);
      },
    });
  } catch (cause) {
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      `"${path}" cannot be read beyond row ${part.rowStart}: ${(cause as Error).message}`,
      { path, row: part.rowStart },
      { cause },
    );
  }
  return values;
}

function rowsOf(
  columns: readonly string[],
  values: ReadonlyMap<string, unknown[]>,
  groupStart: number,
  from: number,
  to: number,
): InputRow[] {
  return Array.from({ length: to - from }, (_, at) => {
    const row = from + at;
    const fields: Record<string, unknown> = {};
    for (const column of columns) setField(fields, column, values.get(column)?.[row - groupStart] ?? null);
    return { t: 'row', number: row + 1, fields };
  });
}

function bytesUpTo(bytes: number, row: number, { num_rows }: FileMetaData): number {
  return Math.round((bytes * row) / Math.max(Number(num_rows), 1));
}

function tooLarge(path: string, bytes: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `a row group of "${path}" has ${bytes} bytes unpacked, more than the limit of ${groupBytesMax}; write the file with smaller row groups`,
    { path, bytes, limit: groupBytesMax },
  );
}
