import { newSlots } from './cells/cell.ts';
import { clearWindowParts, newWindowParts } from './cells/running.ts';
import type { Group, Layout } from './layout.ts';
import { bucketOf, type EntityState } from './state.ts';
import { type Accumulator, type HeadEvent, mergeEvent, mergeTileInto, type Tile } from './tiles.ts';
import { lifetimeHopUs, windowEnd, windowStart } from './windows.ts';

/** Takes the steps of a group in any order; `step` is the place in the timeline. */
export type EmitStep = (step: number, validFromUs: number, windows: readonly Accumulator[]) => void;

/** Makes the timeline of a group from a state. Holds scratch memory; not for use by two callers at once. */
export interface TimelineMaker {
  /** Emits every step from the state's validFrom on, for ever; returns their number. */
  steps(state: EntityState, tiles: readonly Tile[], emit: EmitStep): number;
}

export function createTimelineMaker(layout: Layout, group: Group): TimelineMaker {
  const accumulators: Accumulator[] = group.windows.map(() => ({
    slots: newSlots(group.width),
    parts: newWindowParts(group.cells, group.parts),
  }));
  const starts = new Float64Array(group.windows.length);
  const ends = new Float64Array(group.windows.length);
  const nextHead = new Int32Array(group.windows.length);
  const nextTile = new Int32Array(group.windows.length);
  let points = new Float64Array(256);
  let count = 0;

  function clear({ slots, parts }: Accumulator): void {
    for (let i = 0; i < slots.length; i++) slots[i] = 0;
    if (parts) clearWindowParts(parts);
  }

  /** Empties an accumulator and puts in the tiles of a window. */
  function refill(accumulator: Accumulator, tiles: readonly Tile[], start: number, end: number): void {
    clear(accumulator);
    for (let i = tiles.length - 1; i >= 0 && (tiles[i] as Tile).startUs >= start; i--) {
      const tile = tiles[i] as Tile;
      if (tile.startUs < end) mergeTileInto(group, accumulator.slots, accumulator.parts, tile);
    }
  }

  /** While head events become visible: ascending; a window is recomputed when its tail moves, else it takes what is new. */
  function risingSteps(head: readonly HeadEvent[], tiles: readonly Tile[], until: number, emit: EmitStep): void {
    for (let p = 0; p < until; p++) {
      const t = points[p] as number;
      for (let w = 0; w < group.windows.length; w++) {
        const window = group.windows[w] as Group['windows'][number];
        const start = windowStart(window, t);
        const end = windowEnd(window, t);
        const accumulator = accumulators[w] as Accumulator;
        const { slots, parts } = accumulator;
        if (p === 0 || start !== starts[w] || end !== ends[w]) {
          starts[w] = start;
          ends[w] = end;
          nextHead[w] = 0;
          refill(accumulator, tiles, start, end);
        }
        let next = nextHead[w] as number;
        for (; next < head.length && (head[next] as HeadEvent).timeUs < t; next++) {
          const event = head[next] as HeadEvent;
          if (event.timeUs >= start && event.timeUs < end) mergeEvent(layout, group, slots, parts, event);
        }
        nextHead[w] = next;
      }
      emit(p, t, accumulators);
    }
  }

  /** Once every event is visible only tails move: descending in time, so that windows only grow. */
  function fallingSteps(head: readonly HeadEvent[], tiles: readonly Tile[], from: number, emit: EmitStep): void {
    nextTile.fill(tiles.length - 1);
    nextHead.fill(head.length - 1);
    for (const accumulator of accumulators) clear(accumulator);
    for (let p = count - 1; p >= from; p--) {
      const t = points[p] as number;
      for (let w = 0; w < group.windows.length; w++) {
        const window = group.windows[w] as Group['windows'][number];
        const start = windowStart(window, t);
        const accumulator = accumulators[w] as Accumulator;
        const { slots, parts } = accumulator;
        if (window.offsetUs > 0) {
          // both its ends move: nothing is taken out of an aggregate, so it is made anew
          const end = windowEnd(window, t);
          refill(accumulator, tiles, start, end);
          for (const each of head)
            if (each.timeUs >= start && each.timeUs < end) mergeEvent(layout, group, slots, parts, each);
          continue;
        }
        let event = nextHead[w] as number;
        for (; event >= 0 && (head[event] as HeadEvent).timeUs >= start; event--)
          mergeEvent(layout, group, slots, parts, head[event] as HeadEvent);
        nextHead[w] = event;
        let tile = nextTile[w] as number;
        for (; tile >= 0 && (tiles[tile] as Tile).startUs >= start; tile--)
          mergeTileInto(group, slots, parts, tiles[tile] as Tile);
        nextTile[w] = tile;
      }
      emit(p, t, accumulators);
    }
  }

  /** Every time at which a value may change, from `fromUs` on, ascending. */
  function collectPoints(head: readonly HeadEvent[], tiles: readonly Tile[], fromUs: number): void {
    const most = 1 + head.length + 2 * (tiles.length + head.length) * group.windows.length;
    if (most > points.length) points = new Float64Array(2 * most);
    points[0] = fromUs;
    count = 1;
    for (const { timeUs } of head) add(timeUs + 1, fromUs);
    if (group.hopUs !== lifetimeHopUs) {
      for (const { startUs } of tiles) addTails(startUs, fromUs);
      for (const { timeUs } of head) addTails(bucketOf(group, timeUs), fromUs);
    }
    if (!isAscending()) points.subarray(0, count).sort();
    let kept = 0;
    for (let i = 1; i < count; i++) if (points[i] !== points[kept]) points[++kept] = points[i] as number;
    count = kept + 1;
  }

  function isAscending(): boolean {
    for (let i = 1; i < count; i++) if ((points[i] as number) < (points[i - 1] as number)) return false;
    return true;
  }

  /** When a bucket leaves each window, and when it enters one with an offset. */
  function addTails(bucketUs: number, fromUs: number): void {
    for (const { sizeUs, offsetUs } of group.windows) {
      add(bucketUs + group.hopUs + offsetUs + sizeUs, fromUs);
      if (offsetUs > 0) add(bucketUs + group.hopUs + offsetUs, fromUs);
    }
  }

  function add(point: number, fromUs: number): void {
    if (point > fromUs && point !== points[count - 1]) points[count++] = point;
  }

  return {
    steps({ head, validFromUs }, tiles, emit) {
      collectPoints(head, tiles, validFromUs);
      const allVisibleUs = Math.max(validFromUs, (head.at(-1)?.timeUs ?? Number.NEGATIVE_INFINITY) + 1);
      let rising = 0;
      while ((points[rising] as number) < allVisibleUs) rising++;
      // the first step with every event follows from the one before: most tiles are never in another one
      if (rising > 0) rising++;
      risingSteps(head, tiles, rising, emit);
      fallingSteps(head, tiles, rising, emit);
      return count;
    },
  };
}
