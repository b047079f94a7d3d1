import { MeshError } from '@millrace/kernel';
import type { Slots, Texts } from './cells.ts';
import type { Layout } from './layout.ts';
import { type EntityState, type HeadEvent, newState, type Tile } from './state.ts';

const format = 1;

/**
 * A state as bytes, little-endian: u8 format, f64 validFrom, f64 last event time, u32 head events (f64 time, seq, index, slots, texts each),
 * then per group u32 tiles (f64 start, slots, texts each). A text is u32 length and its bytes.
 */
export function encodeState(layout: Layout, state: EntityState): Buffer {
  let size = 1 + 16 + 4 + state.head.length * (24 + layout.width * 8);
  for (const { texts } of state.head) size += textBytes(texts);
  for (const [index, group] of layout.groups.entries()) {
    const tiles = state.tiles[index] as Tile[];
    size += 4 + tiles.length * (8 + group.width * 8);
    for (const { texts } of tiles) size += textBytes(texts);
  }
  const out = Buffer.allocUnsafe(size);
  out[0] = format;
  out.writeDoubleLE(state.validFromUs, 1);
  out.writeDoubleLE(state.lastEventTimeUs, 9);
  let at = out.writeUInt32LE(state.head.length, 17);
  for (const { timeUs, seq, index, slots, texts } of state.head) {
    at = out.writeDoubleLE(timeUs, at);
    at = out.writeDoubleLE(seq, at);
    at = out.writeDoubleLE(index, at);
    at = writeSlots(out, at, slots);
    at = writeTexts(out, at, texts);
  }
  for (const tiles of state.tiles) {
    at = out.writeUInt32LE(tiles.length, at);
    for (const { startUs, slots, texts } of tiles) {
      at = out.writeDoubleLE(startUs, at);
      at = writeSlots(out, at, slots);
      at = writeTexts(out, at, texts);
    }
  }
  return out;
}

/** CORRUPT_DATA for bytes of another format. */
export function decodeState(layout: Layout, bytes: Buffer): EntityState {
  if (bytes[0] !== format) {
    throw new MeshError(
      'CORRUPT_DATA',
      `a state of feature view "${layout.view.name}" has format ${bytes[0]}, not ${format}`,
      { featureView: layout.view.name },
    );
  }
  const state = newState(layout);
  state.validFromUs = bytes.readDoubleLE(1);
  state.lastEventTimeUs = bytes.readDoubleLE(9);
  const reader = new StateReader(bytes, 17);
  const events = reader.u32();
  for (let i = 0; i < events; i++) {
    const event: HeadEvent = {
      timeUs: reader.f64(),
      seq: reader.f64(),
      index: reader.f64(),
      slots: reader.slots(layout.width),
      texts: reader.texts(layout.texts),
    };
    state.head.push(event);
  }
  for (const [index, group] of layout.groups.entries()) {
    const tiles = state.tiles[index] as Tile[];
    const count = reader.u32();
    for (let i = 0; i < count; i++)
      tiles.push({ startUs: reader.f64(), slots: reader.slots(group.width), texts: reader.texts(group.texts) });
  }
  return state;
}

function textBytes(texts: Texts | null): number {
  return texts?.reduce((sum, text) => sum + 4 + Buffer.byteLength(text), 0) ?? 0;
}

function writeSlots(out: Buffer, at: number, slots: Slots): number {
  // a slot at a time: for so few a view over their memory costs more than it saves
  for (let i = 0; i < slots.length; i++) out.writeDoubleLE(slots[i] as number, at + 8 * i);
  return at + slots.byteLength;
}

function writeTexts(out: Buffer, start: number, texts: Texts | null): number {
  let at = start;
  for (const text of texts ?? []) {
    const length = out.write(text, at + 4);
    out.writeUInt32LE(length, at);
    at += 4 + length;
  }
  return at;
}

class StateReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  u32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32LE(this.#at - 4);
  }

  f64(): number {
    this.#at += 8;
    return this.#bytes.readDoubleLE(this.#at - 8);
  }

  slots(width: number): Slots {
    const slots = new Float64Array(width);
    for (let i = 0; i < width; i++) slots[i] = this.f64();
    return slots;
  }

  texts(count: number): Texts | null {
    if (count === 0) return null;
    return Array.from({ length: count }, () => {
      const length = this.u32();
      this.#at += length;
      return this.#bytes.toString('utf8', this.#at - length, this.#at);
    });
  }
}
