import type { Slots, Texts } from './cells.ts';
import type { Group, Layout } from './layout.ts';
import { bucketOf, type EntityState, type HeadEvent, mergeEvent, mergeTileInto, type Tile } from './state.ts';
import { lifetimeHopUs, windowStart } from './windows.ts';

/** The partial aggregates of one window while a timeline is made. */
export interface Accumulator {
  readonly slots: Slots;
  readonly texts: Texts | null;
}

/** Takes the steps of a group in any order; `step` is the place in the timeline. */
export type EmitStep = (step: number, validFromUs: number, windows: readonly Accumulator[]) => void;

/** Makes the timeline of a group from a state. Holds scratch memory; not for use by two callers at once. */
export interface TimelineMaker {
  /** Emits every step from the state's validFrom on, for ever; returns their number. */
  steps(state: EntityState, tiles: readonly Tile[], emit: EmitStep): number;
}

export function createTimelineMaker(layout: Layout, group: Group): TimelineMaker {
  const accumulators: Accumulator[] = group.windows.map(() => ({
    slots: new Float64Array(group.width),
    texts: group.texts > 0 ? new Array<string>(group.texts).fill('') : null,
  }));
  const starts = new Float64Array(group.windows.length);

  function clear(window: number): void {
    const { slots, texts } = accumulators[window] as Accumulator;
    slots.fill(0);
    texts?.fill('');
  }

  /** While head events become visible: ascending; a window is recomputed when its tail moves, else it takes what is new. */
  function risingSteps(state: EntityState, tiles: readonly Tile[], points: readonly number[], emit: EmitStep): void {
    for (let p = 0; p < points.length; p++) {
      const t = points[p] as number;
      for (let w = 0; w < group.windows.length; w++) {
        const start = windowStart(group.windows[w] as Group['windows'][number], t);
        const { slots, texts } = accumulators[w] as Accumulator;
        let sinceUs = points[p - 1] ?? Number.NEGATIVE_INFINITY;
        if (p === 0 || start !== starts[w]) {
          clear(w);
          starts[w] = start;
          sinceUs = Number.NEGATIVE_INFINITY;
          for (let i = tiles.length - 1; i >= 0 && (tiles[i] as Tile).startUs >= start; i--)
            mergeTileInto(group, slots, texts, tiles[i] as Tile);
        }
        for (const event of state.head) {
          if (event.timeUs >= t) break;
          if (event.timeUs >= sinceUs && event.timeUs >= start) mergeEvent(layout, group, slots, texts, event);
        }
      }
      emit(p, t, accumulators);
    }
  }

  /** Once every event is visible only tails move: descending in time, so that windows only grow. */
  function fallingSteps(
    state: EntityState,
    tiles: readonly Tile[],
    points: readonly number[],
    offset: number,
    emit: EmitStep,
  ): void {
    const nextTile = new Int32Array(group.windows.length).fill(tiles.length - 1);
    const nextHead = new Int32Array(group.windows.length).fill(state.head.length - 1);
    for (let w = 0; w < group.windows.length; w++) clear(w);
    for (let p = points.length - 1; p >= 0; p--) {
      const t = points[p] as number;
      for (let w = 0; w < group.windows.length; w++) {
        const start = windowStart(group.windows[w] as Group['windows'][number], t);
        const { slots, texts } = accumulators[w] as Accumulator;
        let head = nextHead[w] as number;
        for (; head >= 0 && (state.head[head] as HeadEvent).timeUs >= start; head--)
          mergeEvent(layout, group, slots, texts, state.head[head] as HeadEvent);
        nextHead[w] = head;
        let tile = nextTile[w] as number;
        for (; tile >= 0 && (tiles[tile] as Tile).startUs >= start; tile--)
          mergeTileInto(group, slots, texts, tiles[tile] as Tile);
        nextTile[w] = tile;
      }
      emit(offset + p, t, accumulators);
    }
  }

  return {
    steps(state, tiles, emit) {
      const { head, validFromUs } = state;
      const allVisibleUs = Math.max(validFromUs, (head.at(-1)?.timeUs ?? Number.NEGATIVE_INFINITY) + 1);
      const tails = tailPoints(group, head, tiles);
      const rising = [validFromUs, ...head.map(({ timeUs }) => timeUs + 1), ...tails].filter(
        (t) => t >= validFromUs && t < allVisibleUs,
      );
      const falling = [allVisibleUs, ...tails.filter((t) => t > allVisibleUs)];
      const risingPoints = distinctAscending(rising);
      const fallingPoints = distinctAscending(falling);
      risingSteps(state, tiles, risingPoints, emit);
      fallingSteps(state, tiles, fallingPoints, risingPoints.length, emit);
      return risingPoints.length + fallingPoints.length;
    },
  };
}

/** When buckets leave windows. */
function tailPoints(group: Group, head: readonly HeadEvent[], tiles: readonly Tile[]): number[] {
  if (group.hopUs === lifetimeHopUs) return [];
  const points: number[] = [];
  let last = Number.NaN;
  const add = (bucketUs: number) => {
    if (bucketUs === last) return;
    last = bucketUs;
    for (const { sizeUs } of group.windows) points.push(bucketUs + group.hopUs + sizeUs);
  };
  for (const { startUs } of tiles) add(startUs);
  for (const { timeUs } of head) add(bucketOf(group, timeUs));
  return points;
}

function distinctAscending(points: number[]): number[] {
  points.sort((a, b) => a - b);
  return points.filter((point, index) => point !== points[index - 1]);
}
