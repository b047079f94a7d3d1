import { layoutOf } from './layout.ts';
import { headerBytes, rowFormat } from './row-writer.ts';
import type { FieldType, Scalar, ViewDefinition } from './types.ts';

export interface RowHeader {
  readonly version: string;
  readonly position: number;
  readonly lastEventTimeUs: number;
  readonly knownTimeUs: number;
  readonly firstStepUs: number;
}

/** Reads rows of one view version (layout: row-writer.ts). Numbers of a row that is read at a stretch cost no allocation but one view. */
export interface RowReader {
  /** For each feature where its value is, or -1 when it is null. */
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
  const groups = layout.groups.map(({ features }) => Int32Array.from(features, ({ index }) => index));

  // a DataView reads a number several times faster than a Buffer does; rows that came together lie in one ArrayBuffer
  let current: Buffer | undefined;
  let buffer: ArrayBufferLike | undefined;
  let data: DataView = new DataView(new ArrayBuffer(0));
  let base = 0;
  const see = (row: Buffer): DataView => {
    if (row === current) return data;
    current = row;
    base = row.byteOffset;
    if (row.buffer !== buffer) {
      buffer = row.buffer;
      data = new DataView(buffer);
    }
    return data;
  };
  const f64At = (row: Buffer, at: number): number => {
    const bytes = see(row);
    return bytes.getFloat64(base + at, true);
  };

  const reader: RowReader = {
    newCursor: () => new Int32Array(layout.types.length),
    position(row) {
      const bytes = see(row);
      return bytes.getUint32(base) * 4294967296 + bytes.getUint32(base + 4);
    },
    lastEventTimeUs: (row) => f64At(row, 8),
    knownTimeUs: (row) => f64At(row, 16),
    firstStepUs: (row) => f64At(row, 24),
    header: (row) => ({
      version: row.toString('hex', 33, 39),
      position: reader.position(row),
      lastEventTimeUs: reader.lastEventTimeUs(row),
      knownTimeUs: reader.knownTimeUs(row),
      firstStepUs: reader.firstStepUs(row),
    }),
    locate(row, asOfUs, cursor) {
      const bytes = see(row);
      if (bytes.getUint8(base + 32) !== rowFormat || asOfUs < bytes.getFloat64(base + 24, true)) return false;
      for (let g = 0; g < groups.length; g++) {
        const features = groups[g] as Int32Array;
        const width = features.length;
        const block = base + bytes.getUint32(base + headerBytes + 4 * g, true);
        const steps = bytes.getUint32(block, true);
        const step = lastStep(bytes, block + 8, steps, asOfUs);
        const values = block + 8 + 8 * steps + step * width * 8;
        const nulls = block + 8 + 8 * steps * (1 + width) + step * ((width + 7) >> 3);
        let bits = 0;
        for (let c = 0; c < width; c++) {
          if ((c & 7) === 0) bits = bytes.getUint8(nulls + (c >> 3));
          cursor[features[c] as number] = (bits & (1 << (c & 7))) === 0 ? values + 8 * c : -1;
        }
      }
      return true;
    },
    isNull: (_row, cursor, feature) => (cursor[feature] as number) < 0,
    f64: (row, cursor, feature) => see(row).getFloat64(cursor[feature] as number, true),
    copyI64(row, cursor, feature, out, at) {
      const from = cursor[feature] as number;
      const bytes = see(row);
      out.setUint32(at, bytes.getUint32(from, true), true);
      out.setUint32(at + 4, bytes.getUint32(from + 4, true), true);
    },
    string(row, cursor, feature) {
      const at = cursor[feature] as number;
      const bytes = see(row);
      const offset = bytes.getUint32(at, true);
      return row.toString('utf8', offset, offset + bytes.getUint32(at + 4, true));
    },
    valuesAt(row, asOfUs) {
      const cursor = reader.newCursor();
      if (!reader.locate(row, asOfUs, cursor)) return undefined;
      return layout.types.map((type, feature) => {
        if (reader.isNull(row, cursor, feature)) return null;
        if (type === 'STRING') return reader.string(row, cursor, feature);
        return scalarAt(see(row), type, cursor[feature] as number);
      });
    },
  };
  return reader;
}

function scalarAt(data: DataView, type: FieldType, at: number): Scalar {
  if (type === 'DOUBLE') return data.getFloat64(at, true);
  if (type === 'BOOL') return data.getUint8(at) === 1;
  const value = data.getBigInt64(at, true);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
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
