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

/** Reads rows of one view version (layout: row-writer.ts). Numbers of a row that is read at a stretch cost no allocation but one view. */
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
  copyI64(row: Buffer, cursor: Int32Array, feature: number, out: DataView, at: number): void;
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

  // a DataView reads a number several times faster than a Buffer does
  let current: Buffer | undefined;
  let data: DataView = new DataView(new ArrayBuffer(0));
  const see = (row: Buffer): DataView => {
    if (row === current) return data;
    current = row;
    data = new DataView(row.buffer, row.byteOffset, row.byteLength);
    return data;
  };

  const reader: RowReader = {
    newCursor: () => new Int32Array(layout.groups.length * 2),
    position: (row) => see(row).getUint32(0) * 4294967296 + see(row).getUint32(4),
    lastEventTimeUs: (row) => see(row).getFloat64(8, true),
    knownTimeUs: (row) => see(row).getFloat64(16, true),
    firstStepUs: (row) => see(row).getFloat64(24, true),
    header: (row) => ({
      version: row.toString('hex', 33, 39),
      position: reader.position(row),
      lastEventTimeUs: reader.lastEventTimeUs(row),
      knownTimeUs: reader.knownTimeUs(row),
      firstStepUs: reader.firstStepUs(row),
    }),
    locate(row, asOfUs, cursor) {
      const bytes = see(row);
      if (bytes.getUint8(32) !== rowFormat || asOfUs < bytes.getFloat64(24, true)) return false;
      for (let g = 0; g < widths.length; g++) {
        const block = bytes.getUint32(headerBytes + 4 * g, true);
        const steps = bytes.getUint32(block, true);
        const step = lastStep(bytes, block + 8, steps, asOfUs);
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
      return (see(row).getUint8(nulls + (column >> 3)) & (1 << (column & 7))) !== 0;
    },
    f64: (row, cursor, feature) => see(row).getFloat64(valueAt(cursor, feature), true),
    copyI64(row, cursor, feature, out, at) {
      const from = valueAt(cursor, feature);
      const bytes = see(row);
      out.setUint32(at, bytes.getUint32(from, true), true);
      out.setUint32(at + 4, bytes.getUint32(from + 4, true), true);
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
function lastStep(row: DataView, at: number, steps: number, t: number): number {
  let low = 0;
  let high = steps - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (row.getFloat64(at + 8 * middle, true) <= t) low = middle;
    else high = middle - 1;
  }
  return low;
}
