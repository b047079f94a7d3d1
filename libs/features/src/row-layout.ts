/**
 * The row record, format 3; numbers are little-endian but for the position:
 *
 *   0  u8   format: 3
 *   1  u48 big-endian  position: the stream position that the row reflects. With the format before it, so that writers can compare rows by
 *           their first seven bytes as one number: a row of a newer format is newer
 *   7  u8   shape: which of the codes below (bits 0–1 known time, 2–3 first step)
 *   8  f64  last event time, µs
 *  16       known time of the newest event: as i32 or i48 after the last event time, or f64
 *   …       first step, the earliest read time that the row answers: nothing when it is 0 or the instant after the last event, else i48 after the last
 *           event time, or f64
 *   …  u32 × groups  where each group's block starts; not there for a single group, whose block is here
 *   …  per group a block
 *   …  the bytes of texts, lists and vectors (list-codec.ts)
 *
 * A block: u8 (bits 0–1 k, bits 2–3 which steps), then steps × values, then steps × ⌈features / 8⌉ bytes nulls (bit 1: null). The steps are
 * one, from the row's first step or from the instant after the last event, or so many as a u24 tells with an f64 valid_from each after it. Before
 * the first of them every value of the group is null.
 *
 * The values of a step: floats as float64, texts, lists and vectors as u32 offset and u32 length, then the integers (BOOL, INT64, TIMESTAMP) in 2^k bytes
 * each, the fewest that hold every one of the group's. So the row of ten small integers takes 43 bytes; Redis keeps hashes of values of at most 64
 * without a pointer, a name and a length for each.
 */
export const rowFormat = 3;

export interface RowHeader {
  readonly position: number;
  readonly lastEventTimeUs: number;
  readonly knownTimeUs: number;
  readonly firstStepUs: number;
}

/** Which steps a block has. */
export const stepsTimed = 0;
export const stepsFromFirst = 1;
export const stepsOnceSeen = 2;

const knownAt = 16;
const knownBytes = [4, 6, 8] as const;
const firstBytes = [0, 0, 6, 8] as const;
const knownIsI32 = 0;
const knownIsI48 = 1;
const knownIsF64 = 2;
const firstIsZero = 0;
const firstIsOnceSeen = 1;
const firstIsI48 = 2;
const firstIsF64 = 3;

const bodies = Uint8Array.from(
  { length: 16 },
  (_, shape) => knownAt + (knownBytes[shape & 3] ?? 0) + (firstBytes[shape >> 2] ?? 0),
);

/** Where what follows the header of a shape starts. */
export function bodyAt(shape: number): number {
  return bodies[shape] as number;
}

export function shapeOf({ lastEventTimeUs, knownTimeUs, firstStepUs }: RowHeader): number {
  const known = knownTimeUs - lastEventTimeUs;
  const knownCode = known === (known | 0) ? knownIsI32 : isI48(known) ? knownIsI48 : knownIsF64;
  return knownCode | (firstCode(firstStepUs, lastEventTimeUs) << 2);
}

function firstCode(firstStepUs: number, lastEventTimeUs: number): number {
  if (firstStepUs === 0) return firstIsZero;
  if (firstStepUs === lastEventTimeUs + 1) return firstIsOnceSeen;
  return isI48(firstStepUs - lastEventTimeUs) ? firstIsI48 : firstIsF64;
}

export function writeHeader(row: Buffer, shape: number, header: RowHeader): void {
  const { position, lastEventTimeUs, knownTimeUs, firstStepUs } = header;
  row[0] = rowFormat;
  row.writeUIntBE(position, 1, 6);
  row[7] = shape;
  row.writeDoubleLE(lastEventTimeUs, 8);
  const known = shape & 3;
  if (known === knownIsI32) row.writeInt32LE(knownTimeUs - lastEventTimeUs, knownAt);
  else if (known === knownIsI48) row.writeIntLE(knownTimeUs - lastEventTimeUs, knownAt, 6);
  else row.writeDoubleLE(knownTimeUs, knownAt);
  const firstAt = knownAt + (knownBytes[known] ?? 0);
  const first = shape >> 2;
  if (first === firstIsI48) row.writeIntLE(firstStepUs - lastEventTimeUs, firstAt, 6);
  else if (first === firstIsF64) row.writeDoubleLE(firstStepUs, firstAt);
}

// what no view alters is one function for all readers: calls of it are inlined where readers of many views meet

export function position(row: DataView): number {
  return row.getUint16(1) * 4294967296 + row.getUint32(3);
}

export function lastEventTimeUs(row: DataView): number {
  return row.getFloat64(8, true);
}

export function knownTimeUs(row: DataView): number {
  const code = row.getUint8(7) & 3;
  if (code === knownIsF64) return row.getFloat64(knownAt, true);
  return lastEventTimeUs(row) + (code === knownIsI32 ? row.getInt32(knownAt, true) : i48(row, knownAt));
}

export function firstStepUs(row: DataView): number {
  const shape = row.getUint8(7);
  const code = shape >> 2;
  if (code === firstIsZero) return 0;
  const last = lastEventTimeUs(row);
  if (code === firstIsOnceSeen) return last + 1;
  const at = knownAt + (knownBytes[shape & 3] as number);
  return code === firstIsI48 ? last + i48(row, at) : row.getFloat64(at, true);
}

function i48(row: DataView, at: number): number {
  return row.getUint32(at, true) + row.getInt16(at + 4, true) * 4294967296;
}

/** Exact as a sum with a time below 2^53, too. */
function isI48(value: number): boolean {
  return Number.isInteger(value) && value >= -(2 ** 47) && value < 2 ** 47;
}
