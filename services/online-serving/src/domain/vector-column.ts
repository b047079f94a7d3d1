import { fieldSize, openField, varintSize, writeVarint } from './wire.ts';

/** Of field 30 of GetFeaturesResponse, of two bytes. */
const vectorsTag = (30 << 3) | 2;
const dimensionTag = 0x08;

/** A `vectors` field: packed floats are little-endian blocks on the wire, so rows are copied; zeros stand for a row without a vector. */
export function encodeVectors(rows: readonly (Uint8Array | null)[], dimension: number): Buffer {
  const values = 4 * dimension * rows.length;
  const size = 1 + varintSize(dimension) + (values === 0 ? 0 : fieldSize(values));
  const bytes = Buffer.alloc(2 + varintSize(size) + size);
  let at = writeVarint(bytes, writeVarint(bytes, 0, vectorsTag), size);
  bytes[at] = dimensionTag;
  at = writeVarint(bytes, at + 1, dimension);
  if (values === 0) return bytes;
  at = openField(bytes, at, 2, values);
  for (const row of rows) {
    if (row) bytes.set(row, at);
    at += 4 * dimension;
  }
  return bytes;
}
