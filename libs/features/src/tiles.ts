import { newParts, newSlots, type Parts, type Slots, type WindowPart } from './cells/cell.ts';
import type { Group, Layout } from './layout.ts';

/** The partial aggregates of one hop bucket, or of a session. */
export interface Tile {
  readonly startUs: number;
  readonly slots: Slots;
  readonly parts: Parts | null;
}

/** One event that is not in a tile yet: the view's cells, each filled with it or empty. */
export interface HeadEvent {
  readonly timeUs: number;
  readonly seq: number;
  readonly index: number;
  readonly slots: Slots;
  readonly parts: Parts | null;
}

/** The partial aggregates of one window while a timeline is made. */
export interface Accumulator {
  readonly slots: Slots;
  readonly parts: WindowPart[] | null;
}

export function newTile(group: Group, startUs: number): Tile {
  return { startUs, slots: newSlots(group.width), parts: newParts(group.parts) };
}

/** Adds a head event to slots that are laid out for a group. */
export function mergeEvent(
  layout: Layout,
  group: Group,
  slots: Slots,
  parts: WindowPart[] | null,
  event: HeadEvent,
): void {
  for (let i = 0; i < group.cells.length; i++) {
    const { merge, viewCell, at, partAt } = group.cells[i] as Group['cells'][number];
    const from = layout.cells[viewCell] as Layout['cells'][number];
    merge(slots, at, event.slots, from.at, parts, partAt, event.parts, from.partAt);
  }
}

/** Adds a tile to slots that are laid out for its group. */
export function mergeTileInto(group: Group, slots: Slots, parts: WindowPart[] | null, tile: Tile): void {
  for (let i = 0; i < group.cells.length; i++) {
    const { merge, at, partAt } = group.cells[i] as Group['cells'][number];
    merge(slots, at, tile.slots, at, parts, partAt, tile.parts, partAt);
  }
}
