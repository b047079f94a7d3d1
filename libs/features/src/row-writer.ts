import { valueInGroup } from './group-value.ts';
import type { Group, Layout } from './layout.ts';
import { elementOf } from './list-codec.ts';
import { RowHeap } from './row-heap.ts';
import { createSessionTimeline } from './session-timeline.ts';
import type { EntityState } from './state.ts';
import type { Accumulator, Tile } from './tiles.ts';
import { createTimelineMaker } from './timeline.ts';
import type { Scalar } from './types.ts';

/**
 * The row record, little-endian but for the position:
 *
 *   0  u64 big-endian  position: the stream position that the row reflects (first, so that writers can compare rows)
 *   8  f64  last event time, µs
 *  16  f64  known time of the newest event, µs
 *  24  f64  first step: the earliest read time that the row answers
 *  32  u8   format: 2
 *  33  6 bytes  the view's version
 *  39  u8   0
 *  40  u32 × groups  where each group's block starts
 *   …  per group: u32 steps, u32 k, f64 × steps valid_from, steps × values, steps × ⌈features / 8⌉ bytes nulls (bit 1: null)
 *   …  the bytes of texts and lists (list-codec.ts)
 *
 * The values of a step: floats as float64, texts and lists as u32 offset and u32 length, then the integers (BOOL, INT64, TIMESTAMP) in 2^k bytes
 * each, the fewest that hold every one of the group's. Counts are small: most rows lose more than half of their bytes so.
 */
export const rowFormat = 2;
export const headerBytes = 40;

export type RowMeta = { readonly position: number; readonly knownTimeUs: number };

export type RowWriter = (state: EntityState, meta: RowMeta) => Buffer;

/** Holds scratch memory; not for use by two callers at once. */
export function createRowWriter(layout: Layout): RowWriter {
  const groups = layout.groups.map((group) => createGroupWriter(layout, group));
  const version = Buffer.alloc(6);
  Buffer.from(layout.view.version, 'hex').copy(version);
  return (state, { position, knownTimeUs }) => {
    const texts = new RowHeap();
    const blocks = groups.map((group, index) => group.collect(state, state.tiles[index] as Tile[], texts));
    const fixed = headerBytes + 4 * groups.length + blocks.reduce((sum, bytes) => sum + bytes, 0);
    const row = Buffer.allocUnsafe(fixed + texts.bytes);
    row.writeUInt32BE(Math.floor(position / 4294967296), 0);
    row.writeUInt32BE(position % 4294967296, 4);
    row.writeDoubleLE(state.lastEventTimeUs, 8);
    row.writeDoubleLE(knownTimeUs, 16);
    row.writeDoubleLE(state.validFromUs, 24);
    row[32] = rowFormat;
    version.copy(row, 33);
    row[39] = 0;
    let at = headerBytes + 4 * groups.length;
    for (const [index, group] of groups.entries()) {
      row.writeUInt32LE(at, headerBytes + 4 * index);
      at = group.write(row, at, fixed);
    }
    texts.write(row, fixed);
    return row;
  };
}

interface GroupWriter {
  /** Takes the steps of a state; returns the bytes of the block. */
  collect(state: EntityState, tiles: readonly Tile[], texts: RowHeap): number;
  /** Writes the block; returns where it ends. */
  write(row: Buffer, at: number, textsAt: number): number;
}

function createGroupWriter(layout: Layout, group: Group): GroupWriter {
  const maker = group.gapUs > 0 ? createSessionTimeline(layout, group) : createTimelineMaker(layout, group);
  const width = group.features.length;
  const bitmap = Math.ceil(width / 8);
  /** Values that decay from their step on: as two steps they are two values, even with the same bits. */
  const decaying = group.features.flatMap(({ decays }, index) => (decays ? [index] : []));
  const elements = group.features.map(({ type }) => elementOf(type));
  const inHeap = group.features.flatMap(({ type }, index) => (type === 'STRING' || elements[index] ? [index] : []));
  let steps = createSteps(64, width, bitmap);
  let kept = new Int32Array(64);
  const wide = width - group.integers;
  let keptCount = 0;
  let log2 = 3;
  let heap: RowHeap;

  function emit(step: number, validFromUs: number, windows: readonly Accumulator[]): void {
    if (step >= steps.times.length) {
      steps = grow(steps, width, bitmap);
      kept = new Int32Array(steps.times.length);
    }
    const { times, doubles, words, nulls } = steps;
    times[step] = validFromUs;
    const nullsAt = step * bitmap;
    for (let i = 0; i < bitmap; i++) nulls[nullsAt + i] = 0;
    for (let f = 0; f < width; f++) {
      const feature = group.features[f] as Group['features'][number];
      const value = valueInGroup(group, feature, windows, validFromUs);
      const at = step * width + f;
      if (value === null) {
        doubles[at] = 0;
        const byte = nullsAt + (f >> 3);
        nulls[byte] = (nulls[byte] as number) | (1 << (f & 7));
      } else if (feature.type === 'STRING') doubles[at] = heap.intern(value as string);
      else if (feature.type === 'DOUBLE') doubles[at] = value as number;
      else if (typeof value === 'object') doubles[at] = heap.internList(value, elements[f] ?? 'INT64');
      else writeInteger(words, 2 * at, value);
    }
  }

  function same(a: number, b: number): boolean {
    const { words, nulls } = steps;
    const count = 2 * width;
    for (let i = 0; i < count; i++) if (words[a * count + i] !== words[b * count + i]) return false;
    for (let i = 0; i < bitmap; i++) if (nulls[a * bitmap + i] !== nulls[b * bitmap + i]) return false;
    for (const f of decaying) if (steps.doubles[a * width + f] !== 0) return false;
    return true;
  }

  return {
    collect(state, tiles, texts) {
      heap = texts;
      const count = maker.steps(state, tiles, emit);
      keptCount = 0;
      for (let step = 0; step < count; step++)
        if (step === 0 || !same(kept[keptCount - 1] as number, step)) kept[keptCount++] = step;
      log2 = bytesLog2(steps.words, kept, keptCount, wide, width);
      return 8 + keptCount * (8 + wide * 8 + group.integers * 2 ** log2 + bitmap);
    },
    write(row, start, textsAt) {
      row.writeUInt32LE(keptCount, start);
      row.writeUInt32LE(log2, start + 4);
      const stride = 8 * wide + group.integers * 2 ** log2;
      const times = start + 8;
      const values = times + 8 * keptCount;
      const nulls = values + stride * keptCount;
      const { bytes, timesBytes, words } = steps;
      const whole = log2 === 3;
      for (let i = 0; i < keptCount; ) {
        const step = kept[i] as number;
        let run = 1;
        while (i + run < keptCount && kept[i + run] === step + run) run++;
        row.set(timesBytes.subarray(8 * step, 8 * (step + run)), times + 8 * i);
        row.set(steps.nulls.subarray(bitmap * step, bitmap * (step + run)), nulls + bitmap * i);
        if (whole) row.set(bytes.subarray(8 * width * step, 8 * width * (step + run)), values + stride * i);
        i += run;
      }
      for (let i = 0; i < keptCount && !whole; i++) {
        const from = width * (kept[i] as number);
        const to = values + stride * i;
        if (wide > 0) row.set(bytes.subarray(8 * from, 8 * (from + wide)), to);
        writeNarrow(row, to + 8 * wide, log2, words, from + wide, group.integers);
      }
      for (let i = 0; i < keptCount; i++) for (const f of inHeap) heap.place(row, values + stride * i + 8 * f, textsAt);
      return nulls + bitmap * keptCount;
    },
  };
}

/** The smallest k with which 2^k bytes hold each integer of the steps that are kept; integers start at `first` of `width` values. */
function bytesLog2(words: Uint32Array, kept: Int32Array, count: number, first: number, width: number): number {
  let spread = 0;
  for (let i = 0; i < count; i++) {
    const end = 2 * width * ((kept[i] as number) + 1);
    for (let at = end - 2 * (width - first); at < end; at += 2) {
      const low = (words[at] as number) | 0;
      if (low >> 31 !== ((words[at + 1] as number) | 0)) return 3;
      // ones where a negative has zeros, so that the bits used are those of a number that is not negative
      spread |= low ^ (low >> 31);
    }
  }
  if (spread >= 2 ** 15) return 2;
  return spread >= 2 ** 7 ? 1 : 0;
}

/** Writes integers whose words start at value `from` in 2^log2 bytes each. */
function writeNarrow(row: Buffer, at: number, log2: number, words: Uint32Array, from: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const value = words[2 * (from + i)] as number;
    const to = at + (i << log2);
    row[to] = value;
    if (log2 > 0) row[to + 1] = value >>> 8;
    if (log2 > 1) {
      row[to + 2] = value >>> 16;
      row[to + 3] = value >>> 24;
    }
  }
}

/** Steps of a timeline, before those that change nothing are left out; `words` and `bytes` are `doubles`, seen differently. */
interface Steps {
  readonly times: Float64Array;
  readonly timesBytes: Uint8Array;
  readonly doubles: Float64Array;
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  readonly nulls: Uint8Array;
}

function createSteps(capacity: number, width: number, bitmap: number): Steps {
  const times = new Float64Array(capacity);
  const doubles = new Float64Array(capacity * width);
  return {
    times,
    timesBytes: new Uint8Array(times.buffer),
    doubles,
    words: new Uint32Array(doubles.buffer),
    bytes: new Uint8Array(doubles.buffer),
    nulls: new Uint8Array(capacity * bitmap),
  };
}

function grow(steps: Steps, width: number, bitmap: number): Steps {
  const grown = createSteps(2 * steps.times.length, width, bitmap);
  grown.times.set(steps.times);
  grown.bytes.set(steps.bytes);
  grown.nulls.set(steps.nulls);
  return grown;
}

/** Two words, the low one first: typed arrays are little-endian wherever Node runs. */
function writeInteger(words: Uint32Array, at: number, value: Scalar): void {
  if (typeof value === 'bigint') {
    words[at] = Number(value & 0xffffffffn);
    words[at + 1] = Number((value >> 32n) & 0xffffffffn);
    return;
  }
  const whole = Number(value);
  const high = Math.floor(whole / 4294967296);
  words[at] = whole - high * 4294967296;
  words[at + 1] = high;
}
