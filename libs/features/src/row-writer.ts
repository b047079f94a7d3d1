import { valueInGroup } from './group-value.ts';
import type { Group, Layout } from './layout.ts';
import { elementOf } from './list-codec.ts';
import { RowHeap } from './row-heap.ts';
import {
  bodyAt,
  type RowHeader,
  shapeOf,
  stepsFromFirst,
  stepsOnceSeen,
  stepsTimed,
  writeHeader,
} from './row-layout.ts';
import { createSessionTimeline } from './session-timeline.ts';
import type { EntityState } from './state.ts';
import type { Accumulator, Tile } from './tiles.ts';
import { createTimelineMaker } from './timeline.ts';
import type { Scalar } from './types.ts';

export type RowMeta = { readonly position: number; readonly knownTimeUs: number };

/** `take` gives the memory of the row, which is then its taker's. */
export type RowWriter = (state: EntityState, meta: RowMeta, take?: (bytes: number) => Buffer) => Buffer;

/** Writes rows as row-layout.ts has them. Holds scratch memory; not for use by two callers at once. */
export function createRowWriter(layout: Layout): RowWriter {
  const groups = layout.groups.map((group) => createGroupWriter(layout, group));
  const tableBytes = groups.length === 1 ? 0 : 4 * groups.length;
  return (state, { position, knownTimeUs }, take = Buffer.allocUnsafe) => {
    const texts = new RowHeap();
    const header: RowHeader = {
      position,
      lastEventTimeUs: state.lastEventTimeUs,
      knownTimeUs,
      firstStepUs: state.validFromUs,
    };
    const shape = shapeOf(header);
    const tableAt = bodyAt(shape);
    const blocks = groups.map((group, index) => group.collect(state, state.tiles[index] as Tile[], texts));
    const fixed = tableAt + tableBytes + blocks.reduce((sum, bytes) => sum + bytes, 0);
    const row = take(fixed + texts.bytes);
    writeHeader(row, shape, header);
    let at = tableAt + tableBytes;
    for (const [index, group] of groups.entries()) {
      if (tableBytes > 0) row.writeUInt32LE(at, tableAt + 4 * index);
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
  const allNull = Uint8Array.from({ length: bitmap }, (_, i) => (1 << Math.min(8, width - 8 * i)) - 1);
  const elements = group.features.map(({ type }) => elementOf(type));
  const inHeap = group.features.flatMap(({ type }, index) => (type === 'STRING' || elements[index] ? [index] : []));
  let steps = createSteps(64, width, bitmap);
  let kept = new Int32Array(64);
  const wide = width - group.integers;
  let keptCount = 0;
  let kind = stepsTimed;
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

  function isAllNull(step: number): boolean {
    for (let i = 0; i < bitmap; i++) if (steps.nulls[step * bitmap + i] !== allNull[i]) return false;
    return true;
  }

  /** A value that decays is one as of its step, which is then told. */
  function kindOf({ validFromUs, lastEventTimeUs }: EntityState): number {
    if (keptCount !== 1 || decaying.length > 0) return stepsTimed;
    const fromUs = steps.times[kept[0] as number];
    if (fromUs === validFromUs) return stepsFromFirst;
    return fromUs === lastEventTimeUs + 1 ? stepsOnceSeen : stepsTimed;
  }

  return {
    collect(state, tiles, texts) {
      heap = texts;
      const count = maker.steps(state, tiles, emit);
      keptCount = 0;
      for (let step = 0; step < count; step++) {
        // before its first step a block is all nulls, anyway
        const isNews = keptCount === 0 ? !isAllNull(step) : !same(kept[keptCount - 1] as number, step);
        if (isNews) kept[keptCount++] = step;
      }
      log2 = bytesLog2(steps.words, kept, keptCount, wide, width);
      kind = kindOf(state);
      return headBytes(kind, keptCount) + keptCount * (wide * 8 + group.integers * 2 ** log2 + bitmap);
    },
    write(row, start, textsAt) {
      row[start] = log2 | (kind << 2);
      if (kind === stepsTimed) row.writeUIntLE(keptCount, start + 1, 3);
      const stride = 8 * wide + group.integers * 2 ** log2;
      const times = start + 4;
      const values = start + headBytes(kind, keptCount);
      const nulls = values + stride * keptCount;
      const { bytes, timesBytes, words } = steps;
      const whole = log2 === 3;
      for (let i = 0; i < keptCount; ) {
        const step = kept[i] as number;
        let run = 1;
        while (i + run < keptCount && kept[i + run] === step + run) run++;
        if (kind === stepsTimed) row.set(timesBytes.subarray(8 * step, 8 * (step + run)), times + 8 * i);
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

/** Of a block, before its values. */
function headBytes(kind: number, steps: number): number {
  return kind === stepsTimed ? 4 + 8 * steps : 1;
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
