import { type Layout, layoutOf } from './layout.ts';
import { headerBytes, rowFormat } from './row-writer.ts';
import type { Scalar, ViewDefinition } from './types.ts';

export interface RowHeader {
  readonly version: string;
  readonly position: number;
  readonly lastEventTimeUs: number;
  readonly knownTimeUs: number;
  readonly firstStepUs: number;
}

/** Reads rows of one view version (layout: row-writer.ts). Numeric reads allocate nothing. */
export interface RowReader {
  /** Two places a group: where the step's values and nulls are. */
  newCursor(): Int32Array;
  position(row: Buffer): number;
  lastEventTimeUs(row: Buffer): number;
  knownTimeUs(row: Buffer): number;
  firstStepUs(row: Buffer): number;
  /** All of the header; the version as 12 hex digits. Allocates: not for the hot path. */
  header(row: Buffer): RowHeader;
  /** Points the cursor at the step of each group that holds at a time; false when the row does not reach back to it. */
  locate(row: Buffer, asOfUs: number, cursor: Int32Array): boolean;
  isNull(row: Buffer, cursor: Int32Array, feature: number): boolean;
  /** Of a DOUBLE feature. */
  f64(row: Buffer, cursor: Int32Array, feature: number): number;
  /** Copies a BOOL, INT64 or TIMESTAMP feature: 8 bytes, little-endian. */
  copyI64(row: Buffer, cursor: Int32Array, feature: number, out: Buffer, at: number): void;
  string(row: Buffer, cursor: Int32Array, feature: number): string;
  /** Every value as of a time, in the view's order; undefined when the row does not reach back to it. */
  valuesAt(row: Buffer, asOfUs: number): Scalar[] | undefined;
}

export function compileRowReader(view: ViewDefinition): RowReader {
  const layout = layoutOf(view);
  const groupOf = Int32Array.from(layout.places, ({ group }) => group * 2);
  const columnOf = Int32Array.from(layout.places, ({ column }) => column);
  const widths = Int32Array.from(layout.groups, ({ features }) => features.length);

  const valueAt = (cursor: Int32Array, feature: number): number =>
    (cursor[groupOf[feature] as number] as number) + 8 * (columnOf[feature] as number);

  const reader: RowReader = {
    newCursor: () => new Int32Array(layout.groups.length * 2),
    position: (row) => row.readUInt32BE(0) * 4294967296 + row.readUInt32BE(4),
    lastEventTimeUs: (row) => row.readDoubleLE(8),
    knownTimeUs: (row) => row.readDoubleLE(16),
    firstStepUs: (row) => row.readDoubleLE(24),
    header: (row) => ({
      version: row.toString('hex', 33, 39),
      position: reader.position(row),
      lastEventTimeUs: reader.lastEventTimeUs(row),
      knownTimeUs: reader.knownTimeUs(row),
      firstStepUs: reader.firstStepUs(row),
    }),
    locate(row, asOfUs, cursor) {
      if (row[32] !== rowFormat || asOfUs < row.readDoubleLE(24)) return false;
      for (let g = 0; g < widths.length; g++) {
        const block = row.readUInt32LE(headerBytes + 4 * g);
        const steps = row.readUInt32LE(block);
        const step = lastStep(row, block + 8, steps, asOfUs);
        const width = widths[g] as number;
        const values = block + 8 + 8 * steps;
        cursor[2 * g] = values + step * width * 8;
        cursor[2 * g + 1] = values + steps * width * 8 + step * ((width + 7) >> 3);
      }
      return true;
    },
    isNull(row, cursor, feature) {
      const column = columnOf[feature] as number;
      const nulls = cursor[(groupOf[feature] as number) + 1] as number;
      return ((row[nulls + (column >> 3)] as number) & (1 << (column & 7))) !== 0;
    },
    f64: (row, cursor, feature) => row.readDoubleLE(valueAt(cursor, feature)),
    copyI64(row, cursor, feature, out, at) {
      const from = valueAt(cursor, feature);
      for (let i = 0; i < 8; i++) out[at + i] = row[from + i] as number;
    },
    string(row, cursor, feature) {
      const at = valueAt(cursor, feature);
      const offset = row.readUInt32LE(at);
      return row.toString('utf8', offset, offset + row.readUInt32LE(at + 4));
    },
    valuesAt(row, asOfUs) {
      const cursor = reader.newCursor();
      if (!reader.locate(row, asOfUs, cursor)) return undefined;
      return layout.types.map((_, feature) => scalarAt(reader, layout, row, cursor, feature, valueAt(cursor, feature)));
    },
  };
  return reader;
}

function scalarAt(
  reader: RowReader,
  layout: Layout,
  row: Buffer,
  cursor: Int32Array,
  feature: number,
  at: number,
): Scalar {
  if (reader.isNull(row, cursor, feature)) return null;
  switch (layout.types[feature]) {
    case 'DOUBLE':
      return row.readDoubleLE(at);
    case 'STRING':
      return reader.string(row, cursor, feature);
    case 'BOOL':
      return row[at] === 1;
    default: {
      const value = row.readBigInt64LE(at);
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
  }
}

/** The last step whose valid_from is not after t; the first step is never after it. */
function lastStep(row: Buffer, at: number, steps: number, t: number): number {
  let low = 0;
  let high = steps - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (row.readDoubleLE(at + 8 * middle) <= t) low = middle;
    else high = middle - 1;
  }
  return low;
}
