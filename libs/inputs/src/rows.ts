/** A moment as the file's own type holds it, in UTC microseconds; text and numbers stay what they are. */
export class Instant {
  readonly us: number;

  constructor(us: number) {
    this.us = us;
  }
}

/** A row as it was read. `number` counts the data rows of a file from 1 and is the same at every reading. */
export type InputRow =
  | { readonly t: 'row'; readonly number: number; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly t: 'bad'; readonly number: number; readonly raw: string; readonly message: string };

export interface RowChunk {
  readonly rows: readonly InputRow[];
  /** Bytes of the file read so far, compressed ones where it is compressed. */
  readonly bytesRead: number;
}

/** What a file gives: its columns where they are known before the rows are, and its rows in chunks. */
export interface RowReader {
  /** CSV, Parquet, Arrow and Avro know their columns; JSON rows each have their own. */
  readonly columns: readonly string[] | undefined;
  chunks(): AsyncIterable<RowChunk>;
}

/** Rows of one chunk: few enough to hold, enough to make one batch. */
export const chunkRowsMax = 1_000;

/** Rows put together to chunks; `bytesRead` is asked when one is full. */
export async function* inChunks(rows: AsyncIterable<InputRow>, bytesRead: () => number): AsyncIterable<RowChunk> {
  let chunk: InputRow[] = [];
  for await (const row of rows) {
    chunk.push(row);
    if (chunk.length < chunkRowsMax) continue;
    yield { rows: chunk, bytesRead: bytesRead() };
    chunk = [];
  }
  if (chunk.length > 0) yield { rows: chunk, bytesRead: bytesRead() };
}
