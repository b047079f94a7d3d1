import { atReadOf } from './cells/at-read.ts';
import { layoutOf } from './layout.ts';
import { decodeList, elementOf } from './list-codec.ts';
import {
  bodyAt,
  firstStepUs,
  knownTimeUs,
  lastEventTimeUs,
  position,
  rowFormat,
  stepsOnceSeen,
  stepsTimed,
} from './row-layout.ts';
import type { FeatureType, FeatureValue, List, Scalar, ViewDefinition } from './types.ts';

/**
 * Reads rows of one view version (row-layout.ts). A row is a DataView, which reads a number several times faster than a Buffer does
 * and is made faster than a slice of one; to read numbers allocates nothing.
 */
export interface RowReader {
  /**
   * For each feature where its value is, of an integer with the log₂ of its bytes in the lowest two bits; -1 when it is null. Then for each
   * group where the start of its step is, when that is told.
   */
  newCursor(): Int32Array;
  position(row: DataView): number;
  lastEventTimeUs(row: DataView): number;
  knownTimeUs(row: DataView): number;
  firstStepUs(row: DataView): number;
  /** Points the cursor at the step of each group that holds at a time; false when the row does not reach back to it. */
  locate(row: DataView, asOfUs: number, cursor: Int32Array): boolean;
  isNull(row: DataView, cursor: Int32Array, feature: number): boolean;
  /** Of a DOUBLE feature. */
  f64(row: DataView, cursor: Int32Array, feature: number): number;
  /** Of a DOUBLE feature whose value moves with the read time (`movesWithTime`). */
  f64At(row: DataView, cursor: Int32Array, feature: number, asOfUs: number): number;
  movesWithTime(feature: number): boolean;
  /** Copies a BOOL, INT64 or TIMESTAMP feature: 8 bytes, little-endian. */
  copyI64(row: DataView, cursor: Int32Array, feature: number, out: DataView, at: number): void;
  string(row: DataView, cursor: Int32Array, feature: number): string;
  list(row: DataView, cursor: Int32Array, feature: number): List;
  /** The bytes of a vector, within the row: its float32, little-endian. */
  vector(row: DataView, cursor: Int32Array, feature: number): Uint8Array;
  /** Every value as of a time, in the view's order; undefined when the row does not reach back to it. */
  valuesAt(row: DataView, asOfUs: number): FeatureValue[] | undefined;
}

export function compileRowReader(view: ViewDefinition): RowReader {
  const layout = layoutOf(view);
  const cursorLength = layout.types.length + layout.groups.length;
  const atRead = view.features.map(atReadOf);
  const decays = layout.places.map(({ group, column }) => layout.groups[group]?.features[column]?.decays === true);
  const elements = layout.types.map(elementOf);
  const groups = layout.groups.map(({ features, integers }) => ({
    features: Int32Array.from(features, ({ index }) => index),
    wide: features.length - integers,
  }));

  return {
    newCursor: () => new Int32Array(cursorLength),
    position,
    lastEventTimeUs,
    knownTimeUs,
    firstStepUs,
    locate,
    isNull,
    f64,
    f64At,
    movesWithTime: (feature) => atRead[feature] !== undefined,
    copyI64,
    string,
    list,
    vector: heapBytes,
    valuesAt(row, asOfUs) {
      const cursor = new Int32Array(cursorLength);
      if (!locate(row, asOfUs, cursor)) return undefined;
      return layout.types.map((type, feature) => {
        if (isNull(row, cursor, feature)) return null;
        if (atRead[feature]) return f64At(row, cursor, feature, asOfUs);
        if (type === 'STRING') return string(row, cursor, feature);
        if (elements[feature]) return list(row, cursor, feature);
        return scalarAt(row, type, cursor[feature] as number);
      });
    },
  };

  function locate(row: DataView, asOfUs: number, cursor: Int32Array): boolean {
    if (row.getUint8(0) !== rowFormat || asOfUs < firstStepUs(row)) return false;
    const body = bodyAt(row.getUint8(7));
    for (let g = 0; g < groups.length; g++) {
      const { features, wide } = groups[g] as (typeof groups)[number];
      const width = features.length;
      const block = groups.length === 1 ? body : row.getUint32(body + 4 * g, true);
      const head = row.getUint8(block);
      const log2 = head & 3;
      let values = block + 1;
      let steps = 1;
      let step = 0;
      if (head >> 2 === stepsTimed) {
        steps = row.getUint32(block, true) >>> 8;
        step = lastStep(row, block + 4, steps, asOfUs);
        values = block + 4 + 8 * steps;
        cursor[layout.types.length + g] = block + 4 + 8 * step;
      } else if (head >> 2 === stepsOnceSeen && asOfUs < lastEventTimeUs(row) + 1) step = -1;
      if (step < 0) {
        for (let c = 0; c < width; c++) cursor[features[c] as number] = -1;
        continue;
      }
      const stride = 8 * wide + ((width - wide) << log2);
      const nulls = values + stride * steps + step * ((width + 7) >> 3);
      values += step * stride;
      let bits = 0;
      for (let c = 0; c < wide; c++) {
        if ((c & 7) === 0) bits = row.getUint8(nulls + (c >> 3));
        cursor[features[c] as number] = (bits & (1 << (c & 7))) === 0 ? values + 8 * c : -1;
      }
      const integers = values + 8 * wide;
      for (let c = wide; c < width; c++) {
        if ((c & 7) === 0 || c === wide) bits = row.getUint8(nulls + (c >> 3));
        const at = ((integers + ((c - wide) << log2)) << 2) | log2;
        cursor[features[c] as number] = (bits & (1 << (c & 7))) === 0 ? at : -1;
      }
    }
    return true;
  }

  function list(row: DataView, cursor: Int32Array, feature: number): List {
    return decodeList(heapBytes(row, cursor, feature), elements[feature] ?? 'INT64');
  }

  function f64At(row: DataView, cursor: Int32Array, feature: number, asOfUs: number): number {
    const stored = f64(row, cursor, feature);
    const group = layout.places[feature]?.group ?? 0;
    const stepUs = decays[feature] ? row.getFloat64(cursor[layout.types.length + group] as number, true) : 0;
    return atRead[feature]?.(stored, stepUs, asOfUs) ?? stored;
  }
}

/** A row over its bytes, without a copy. */
export function rowView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// what no view alters is one function for all readers (see row-layout.ts)

function isNull(_row: DataView, cursor: Int32Array, feature: number): boolean {
  return (cursor[feature] as number) < 0;
}

function f64(row: DataView, cursor: Int32Array, feature: number): number {
  return row.getFloat64(cursor[feature] as number, true);
}

function copyI64(row: DataView, cursor: Int32Array, feature: number, out: DataView, at: number): void {
  const place = cursor[feature] as number;
  const from = place >> 2;
  if ((place & 3) === 3) {
    out.setUint32(at, row.getUint32(from, true), true);
    out.setUint32(at + 4, row.getUint32(from + 4, true), true);
    return;
  }
  const value = narrowInteger(row, place);
  out.setInt32(at, value, true);
  out.setInt32(at + 4, value >> 31, true);
}

/** An integer of at most 32 bits. */
function narrowInteger(row: DataView, place: number): number {
  const at = place >> 2;
  const log2 = place & 3;
  if (log2 === 0) return row.getInt8(at);
  return log2 === 1 ? row.getInt16(at, true) : row.getInt32(at, true);
}

function string(row: DataView, cursor: Int32Array, feature: number): string {
  return heapBytes(row, cursor, feature).toString('utf8');
}

/** Of a text, a list or a vector. */
function heapBytes(row: DataView, cursor: Int32Array, feature: number): Buffer {
  const at = cursor[feature] as number;
  return bytesOf(row, row.getUint32(at, true), row.getUint32(at + 4, true));
}

function bytesOf(row: DataView, at: number, length: number): Buffer {
  return Buffer.from(row.buffer, row.byteOffset + at, length);
}

function scalarAt(data: DataView, type: FeatureType, at: number): Scalar {
  if (type === 'DOUBLE') return data.getFloat64(at, true);
  if (type === 'BOOL') return data.getUint8(at >> 2) === 1;
  if ((at & 3) < 3) return narrowInteger(data, at);
  const value = data.getBigInt64(at >> 2, true);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** The last step whose valid_from is not after t; -1 when t is before the first. */
function lastStep(row: DataView, at: number, steps: number, t: number): number {
  let low = -1;
  let high = steps - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (row.getFloat64(at + 8 * middle, true) <= t) low = middle;
    else high = middle - 1;
  }
  return low;
}
