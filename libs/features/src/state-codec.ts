import { MeshError } from '@millrace/kernel';
import { newSlots, type Slots, type Texts } from './cells.ts';
import type { Layout } from './layout.ts';
import { type EntityState, newState, type Tile } from './state.ts';

const format = 2;
const headerDoubles = 4;

/** Where doubles are put together and taken apart: copies of whole runs cost far less than doubles one by one. */
let doubles = new Float64Array(1024);
let doublesAsBytes = new Uint8Array(doubles.buffer);

function reserve(count: number): void {
  if (count <= doubles.length) return;
  doubles = new Float64Array(2 * count);
  doublesAsBytes = new Uint8Array(doubles.buffer);
}

/**
 * A state as bytes, little-endian. First the numbers, each a f64: format, validFrom, last event time, count of head events (time, seq, index and
 * slots each), then per group the count of tiles (start and slots each). Then the texts in the same order, each a u32 length and its bytes.
 */
export function encodeState(layout: Layout, state: EntityState): Buffer {
  let count = headerDoubles + state.head.length * (3 + layout.width);
  for (const [index, group] of layout.groups.entries())
    count += 1 + (state.tiles[index] as Tile[]).length * (1 + group.width);
  reserve(count);
  doubles[0] = format;
  doubles[1] = state.validFromUs;
  doubles[2] = state.lastEventTimeUs;
  doubles[3] = state.head.length;
  let at = headerDoubles;
  let size = 8 * count;
  for (const { timeUs, seq, index, slots, texts } of state.head) {
    doubles[at] = timeUs;
    doubles[at + 1] = seq;
    doubles[at + 2] = index;
    at = putSlots(at + 3, slots);
    if (texts) size += textBytes(texts);
  }
  for (const tiles of state.tiles) {
    doubles[at++] = tiles.length;
    for (const { startUs, slots, texts } of tiles) {
      doubles[at] = startUs;
      at = putSlots(at + 1, slots);
      if (texts) size += textBytes(texts);
    }
  }
  const out = Buffer.allocUnsafe(size);
  out.set(doublesAsBytes.subarray(0, 8 * count));
  if (size > 8 * count) writeTexts(out, 8 * count, state);
  return out;
}

/** CORRUPT_DATA for bytes of another format. */
export function decodeState(layout: Layout, bytes: Buffer): EntityState {
  reserve(Math.ceil(bytes.length / 8));
  doublesAsBytes.set(bytes);
  if (bytes.length < 8 * headerDoubles || doubles[0] !== format) {
    throw new MeshError(
      'CORRUPT_DATA',
      `a state of feature view "${layout.view.name}" is not of format ${format}; start with an empty data folder: its windows are then filled from history`,
      { featureView: layout.view.name, format },
    );
  }
  const state = newState(layout);
  state.validFromUs = doubles[1] as number;
  state.lastEventTimeUs = doubles[2] as number;
  let at = headerDoubles;
  for (let left = doubles[3] as number; left > 0; left--) {
    const slots = newSlots(layout.width);
    takeSlots(at + 3, slots);
    state.head.push({
      timeUs: doubles[at] as number,
      seq: doubles[at + 1] as number,
      index: doubles[at + 2] as number,
      slots,
      texts: emptyTexts(layout.texts),
    });
    at += 3 + layout.width;
  }
  for (const [index, group] of layout.groups.entries()) {
    const tiles = state.tiles[index] as Tile[];
    for (let left = doubles[at++] as number; left > 0; left--) {
      const slots = newSlots(group.width);
      takeSlots(at + 1, slots);
      tiles.push({ startUs: doubles[at] as number, slots, texts: emptyTexts(group.texts) });
      at += 1 + group.width;
    }
  }
  readTexts(bytes, 8 * at, state);
  return state;
}

function putSlots(at: number, slots: Slots): number {
  for (let i = 0; i < slots.length; i++) doubles[at + i] = slots[i] as number;
  return at + slots.length;
}

function takeSlots(at: number, slots: Slots): void {
  for (let i = 0; i < slots.length; i++) slots[i] = doubles[at + i] as number;
}

function emptyTexts(count: number): Texts | null {
  return count > 0 ? new Array<string>(count).fill('') : null;
}

function textBytes(texts: Texts): number {
  return texts.reduce((sum, text) => sum + 4 + Buffer.byteLength(text), 0);
}

function* textsOf({ head, tiles }: EntityState): Generator<Texts> {
  for (const { texts } of head) if (texts) yield texts;
  for (const group of tiles) for (const { texts } of group) if (texts) yield texts;
}

function writeTexts(out: Buffer, start: number, state: EntityState): void {
  let at = start;
  for (const texts of textsOf(state)) {
    for (const text of texts) {
      const length = out.write(text, at + 4);
      out.writeUInt32LE(length, at);
      at += 4 + length;
    }
  }
}

function readTexts(bytes: Buffer, start: number, state: EntityState): void {
  let at = start;
  for (const texts of textsOf(state)) {
    for (let i = 0; i < texts.length; i++) {
      const length = bytes.readUInt32LE(at);
      texts[i] = bytes.toString('utf8', at + 4, at + 4 + length);
      at += 4 + length;
    }
  }
}
