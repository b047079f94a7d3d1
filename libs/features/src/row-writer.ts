import type { Group, Layout } from './layout.ts';
import type { EntityState, Tile } from './state.ts';
import { type Accumulator, createTimelineMaker } from './timeline.ts';
import type { Scalar } from './types.ts';

/**
 * The row record, little-endian but for the position:
 *
 *   0  u64 big-endian  position: the stream position that the row reflects (first, so that writers can compare rows)
 *   8  f64  last event time, µs
 *  16  f64  known time of the newest event, µs
 *  24  f64  first step: the earliest read time that the row answers
 *  32  u8   format: 1
 *  33  6 bytes  the view's version
 *  39  u8   0
 *  40  u32 × groups  where each group's block starts
 *   …  per group: u32 steps, u32 0, f64 × steps valid_from, steps × features × 8 bytes values, steps × ⌈features / 8⌉ bytes nulls (bit 1: null)
 *   …  the bytes of texts
 *
 * A value is a float64 or int64 (BOOL, INT64, TIMESTAMP), or for a text u32 offset and u32 length.
 */
export const rowFormat = 1;
export const headerBytes = 40;

export type RowMeta = { readonly position: number; readonly knownTimeUs: number };

export type RowWriter = (state: EntityState, meta: RowMeta) => Buffer;

/** Holds scratch memory; not for use by two callers at once. */
export function createRowWriter(layout: Layout): RowWriter {
  const groups = layout.groups.map((group) => createGroupWriter(layout, group));
  const version = Buffer.alloc(6);
  Buffer.from(layout.view.version, 'hex').copy(version);
  return (state, { position, knownTimeUs }) => {
    const texts = new TextHeap();
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
  collect(state: EntityState, tiles: readonly Tile[], texts: TextHeap): number;
  /** Writes the block; returns where it ends. */
  write(row: Buffer, at: number, textsAt: number): number;
}

function createGroupWriter(layout: Layout, group: Group): GroupWriter {
  const maker = createTimelineMaker(layout, group);
  const width = group.features.length;
  const bitmap = Math.ceil(width / 8);
  const stride = width * 8 + bitmap;
  let scratch = Buffer.alloc(64 * stride);
  let times = new Float64Array(64);
  let kept: number[] = [];
  let texts: TextHeap;

  function room(steps: number): void {
    if (steps <= times.length) return;
    const grown = Buffer.alloc(steps * 2 * stride);
    scratch.copy(grown);
    scratch = grown;
    const grownTimes = new Float64Array(steps * 2);
    grownTimes.set(times);
    times = grownTimes;
  }

  function emit(step: number, validFromUs: number, windows: readonly Accumulator[]): void {
    room(step + 1);
    times[step] = validFromUs;
    const at = step * stride;
    scratch.fill(0, at + width * 8, at + stride);
    for (let f = 0; f < width; f++) {
      const feature = group.features[f] as Group['features'][number];
      const { slots, texts: windowTexts } = windows[feature.window] as Accumulator;
      const place = group.cells[feature.cell] as Group['cells'][number];
      const value = feature.finish(slots, place.at, windowTexts, place.textAt);
      if (value === null) {
        scratch.fill(0, at + f * 8, at + f * 8 + 8);
        scratch[at + width * 8 + (f >> 3)] = (scratch[at + width * 8 + (f >> 3)] as number) | (1 << (f & 7));
      } else if (feature.type === 'STRING') scratch.writeDoubleLE(texts.intern(value as string), at + f * 8);
      else writeNumber(scratch, at + f * 8, feature.type === 'DOUBLE', value);
    }
  }

  return {
    collect(state, tiles, heap) {
      texts = heap;
      const steps = maker.steps(state, tiles, emit);
      kept = [0];
      for (let step = 1; step < steps; step++) {
        const before = (kept.at(-1) as number) * stride;
        const same = scratch.compare(scratch, before, before + stride, step * stride, (step + 1) * stride) === 0;
        if (!same) kept.push(step);
      }
      return 8 + kept.length * (8 + stride);
    },
    write(row, start, textsAt) {
      row.writeUInt32LE(kept.length, start);
      row.writeUInt32LE(0, start + 4);
      let at = start + 8;
      for (const step of kept) at = row.writeDoubleLE(times[step] as number, at);
      for (const step of kept) {
        scratch.copy(row, at, step * stride, step * stride + width * 8);
        for (let f = 0; f < width; f++) if (group.features[f]?.type === 'STRING') texts.place(row, at + f * 8, textsAt);
        at += width * 8;
      }
      for (const step of kept) at += scratch.copy(row, at, step * stride + width * 8, (step + 1) * stride);
      return at;
    },
  };
}

function writeNumber(out: Buffer, at: number, isDouble: boolean, value: Scalar): void {
  if (isDouble) out.writeDoubleLE(Number(value), at);
  else if (typeof value === 'bigint') out.writeBigInt64LE(value, at);
  else {
    const whole = Number(value);
    const high = Math.floor(whole / 4294967296);
    out.writeUInt32LE(whole - high * 4294967296, at);
    out.writeInt32LE(high, at + 4);
  }
}

/** The texts of a row, each once. */
class TextHeap {
  readonly #index = new Map<string, number>();
  readonly #entries: { readonly bytes: Buffer; readonly offset: number }[] = [];
  bytes = 0;

  intern(text: string): number {
    const known = this.#index.get(text);
    if (known !== undefined) return known;
    const bytes = Buffer.from(text);
    this.#index.set(text, this.#entries.length);
    this.#entries.push({ bytes, offset: this.bytes });
    this.bytes += bytes.length;
    return this.#entries.length - 1;
  }

  /** Turns the number of a text at `at` into its offset and length; a null is (0, 0). */
  place(row: Buffer, at: number, textsAt: number): void {
    const entry = this.#entries[row.readDoubleLE(at)];
    row.writeUInt32LE(entry ? textsAt + entry.offset : 0, at);
    row.writeUInt32LE(entry?.bytes.length ?? 0, at + 4);
  }

  write(row: Buffer, at: number): void {
    for (const { bytes, offset } of this.#entries) bytes.copy(row, at + offset);
  }
}
