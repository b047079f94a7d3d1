import { MeshError } from '@millrace/kernel';
import { newParts, newSlots, type Parts, type Slots } from './cells/cell.ts';
import type { Layout } from './layout.ts';
import { createPartsReader, partsBytes, writeParts } from './parts-codec.ts';
import { type EntityState, newState } from './state.ts';
import type { Tile } from './tiles.ts';

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
 * slots each), then per group the count of tiles (start and slots each). Then the parts in the same order (parts-codec.ts).
 */
export function encodeState(
  layout: Layout,
  state: EntityState,
  allocate: (bytes: number) => Buffer = Buffer.allocUnsafe,
): Buffer {
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
  for (const { timeUs, seq, index, slots, parts } of state.head) {
    doubles[at] = timeUs;
    doubles[at + 1] = seq;
    doubles[at + 2] = index;
    at = putSlots(at + 3, slots);
    if (parts) size += partsBytes(parts);
  }
  for (const tiles of state.tiles) {
    doubles[at++] = tiles.length;
    for (const { startUs, slots, parts } of tiles) {
      doubles[at] = startUs;
      at = putSlots(at + 1, slots);
      if (parts) size += partsBytes(parts);
    }
  }
  const out = allocate(size);
  out.set(doublesAsBytes.subarray(0, 8 * count));
  if (size > 8 * count) eachParts(state, writeParts(out, 8 * count));
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
      parts: newParts(layout.parts),
    });
    at += 3 + layout.width;
  }
  for (const [index, group] of layout.groups.entries()) {
    const tiles = state.tiles[index] as Tile[];
    for (let left = doubles[at++] as number; left > 0; left--) {
      const slots = newSlots(group.width);
      takeSlots(at + 1, slots);
      tiles.push({ startUs: doubles[at] as number, slots, parts: newParts(group.parts) });
      at += 1 + group.width;
    }
  }
  eachParts(state, createPartsReader(bytes, 8 * at));
  return state;
}

function putSlots(at: number, slots: Slots): number {
  for (let i = 0; i < slots.length; i++) doubles[at + i] = slots[i] as number;
  return at + slots.length;
}

function takeSlots(at: number, slots: Slots): void {
  for (let i = 0; i < slots.length; i++) slots[i] = doubles[at + i] as number;
}

function eachParts({ head, tiles }: EntityState, take: (parts: Parts) => void): void {
  for (const { parts } of head) if (parts) take(parts);
  for (const group of tiles) for (const { parts } of group) if (parts) take(parts);
}
