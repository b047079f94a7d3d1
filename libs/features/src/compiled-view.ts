import { type BoundBatch, createBinder } from './bound-batch.ts';
import { newSlots } from './cells/cell.ts';
import { readCell } from './cells/operations.ts';
import { valueInGroup } from './group-value.ts';
import { type Group, type Layout, layoutOf } from './layout.ts';
import { createRowWriter, type RowMeta } from './row-writer.ts';
import { addSession, collectSession } from './sessions.ts';
import { addEvent, type EntityState, newState, settleState, tileAt } from './state.ts';
import { decodeState, encodeState } from './state-codec.ts';
import { type Accumulator, mergeEvent, mergeTileInto, newTile, type Tile } from './tiles.ts';
import { sqlColumns, type TileRecord, tilesHopUs } from './tiles-sql.ts';
import type { EventColumns, FeatureType, FeatureValue, ViewDefinition } from './types.ts';
import { type ResolvedWindow, windowEnd, windowStart } from './windows.ts';

/** A view, compiled once: the stream side. Not for use from two threads. */
export interface CompiledView {
  readonly definition: ViewDefinition;
  readonly types: readonly FeatureType[];
  bind(columns: EventColumns): BoundBatch;
  newState(): EntityState;
  /** Takes event `row` of a batch. `dropped`: it is older than every window. */
  apply(
    state: EntityState,
    bound: BoundBatch,
    row: number,
    timeUs: number,
    seq: number,
    index: number,
  ): 'applied' | 'dropped';
  /** Folds what need not stay outside tiles and drops what no window can need as of the source's frontier. */
  settle(state: EntityState, frontierUs: number, nowUs: number): void;
  /** True while no event has come: there is no row to read. */
  isEmpty(state: EntityState): boolean;
  encodeState(state: EntityState, allocate?: (bytes: number) => Buffer): Buffer;
  decodeState(bytes: Buffer): EntityState;
  /** Adds a partial aggregate that `tilesSql` gave. */
  mergeTile(state: EntityState, hopUs: number, bucketUs: number, record: TileRecord): void;
  /** The row record with its timeline, in memory of its own unless told where from. */
  writeRow(state: EntityState, meta: RowMeta, take?: (bytes: number) => Buffer): Buffer;
  /** Every value as of a time at or after the state's validFrom, in the view's order. */
  valuesAt(state: EntityState, asOfUs: number): FeatureValue[];
}

/** INVALID_DEFINITION lists every problem. */
export function compileView(definition: ViewDefinition): CompiledView {
  const layout = layoutOf(definition);
  return {
    definition,
    types: layout.types,
    bind: createBinder(layout),
    newState: () => newState(layout),
    apply: (state, bound, row, timeUs, seq, index) => addEvent(layout, state, bound.event(row, timeUs, seq, index)),
    settle: (state, frontierUs, nowUs) => settleState(layout, state, frontierUs, nowUs),
    isEmpty: ({ head, tiles, lastEventTimeUs }) =>
      lastEventTimeUs === 0 && head.length === 0 && tiles.every(({ length }) => length === 0),
    encodeState: (state, allocate) => encodeState(layout, state, allocate),
    decodeState: (bytes) => decodeState(layout, bytes),
    mergeTile: (state, hopUs, bucketUs, record) => mergeTile(layout, state, hopUs, bucketUs, record),
    writeRow: createRowWriter(layout),
    valuesAt: (state, asOfUs) => valuesAt(layout, state, asOfUs),
  };
}

function mergeTile(layout: Layout, state: EntityState, hopUs: number, bucketUs: number, record: TileRecord): void {
  const lastUs = Number(record.last_us);
  state.lastEventTimeUs = Math.max(state.lastEventTimeUs, lastUs);
  state.validFromUs = Math.max(state.validFromUs, lastUs + 1, Number(record.valid_from_us ?? 0));
  const index = layout.groups.findIndex((group) => tilesHopUs(group) === hopUs);
  const group = layout.groups[index];
  if (!group) return;
  const tiles = state.tiles[index] as Tile[];
  const isSession = group.gapUs > 0;
  const tile = isSession ? newTile(group, bucketUs) : tileAt(group, tiles, bucketUs);
  for (const { cell, merge, viewCell, at, partAt } of group.cells) {
    const [n, x, y, z, value] = sqlColumns(viewCell).map((column) => record[column]);
    if (Number(n ?? 0) === 0) continue;
    const slots = newSlots(cell.width);
    const part = readCell(cell, { n: Number(n), x, y, z, value }, slots);
    merge(tile.slots, at, slots, 0, tile.parts, partAt, [part], 0);
  }
  if (isSession) addSession(group, tiles, tile);
}

function valuesAt(layout: Layout, state: EntityState, asOfUs: number): FeatureValue[] {
  const values = new Array<FeatureValue>(layout.types.length).fill(null);
  for (const [index, group] of layout.groups.entries()) {
    const tiles = state.tiles[index] as Tile[];
    const windows = group.windows.map((window) => windowAt(layout, group, state, tiles, window, asOfUs));
    for (const feature of group.features) {
      const value = valueInGroup(group, feature, windows, asOfUs);
      const isMoving = feature.atRead !== undefined && value !== null;
      values[feature.index] = isMoving ? (feature.atRead?.(Number(value), asOfUs, asOfUs) ?? null) : value;
    }
  }
  return values;
}

function windowAt(
  layout: Layout,
  group: Group,
  state: EntityState,
  tiles: readonly Tile[],
  window: ResolvedWindow,
  asOfUs: number,
): Accumulator {
  const { slots, parts } = newTile(group, 0);
  if (group.gapUs > 0) {
    collectSession(layout, group, state.head, tiles, asOfUs, { slots, parts });
    return { slots, parts };
  }
  const start = windowStart(window, asOfUs);
  const end = Math.min(asOfUs, windowEnd(window, asOfUs));
  for (const tile of tiles) if (tile.startUs >= start && tile.startUs < end) mergeTileInto(group, slots, parts, tile);
  for (const event of state.head)
    if (event.timeUs >= start && event.timeUs < end) mergeEvent(layout, group, slots, parts, event);
  return { slots, parts };
}
