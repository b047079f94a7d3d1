import type { Group, Layout } from './layout.ts';
import { foldIntoSessions } from './sessions.ts';
import { type HeadEvent, mergeEvent, newTile, type Tile } from './tiles.ts';
import { floorTo, lifetimeHopUs } from './windows.ts';

/** One entity's state in one view. */
export interface EntityState {
  /** By time, position and index. */
  head: HeadEvent[];
  /** For each group its tiles, by start; of sessions one for each. */
  readonly tiles: Tile[][];
  /** The first time that the state can answer for. */
  validFromUs: number;
  lastEventTimeUs: number;
}

/** Events this far behind the frontier are folded into tiles. */
export const headSpanUs = 15 * 60 * 1e6;

export function newState(layout: Layout): EntityState {
  return { head: [], tiles: layout.groups.map(() => []), validFromUs: 0, lastEventTimeUs: 0 };
}

/** `dropped`: older than every window as of the entity's own newest event. */
export function addEvent(layout: Layout, state: EntityState, event: HeadEvent): 'applied' | 'dropped' {
  if (isOlderThanEveryWindow(layout, state, event.timeUs)) {
    for (const group of layout.groups) {
      const leavesUs = bucketOf(group, event.timeUs) + group.hopUs + group.maxSizeUs;
      state.validFromUs = Math.max(state.validFromUs, leavesUs);
    }
    return 'dropped';
  }
  if (event.timeUs > state.lastEventTimeUs) state.lastEventTimeUs = event.timeUs;
  // nothing can be read before validFrom: the event's own step would never be used
  if (event.timeUs < state.validFromUs) foldEvent(layout, state, event);
  else insertHead(state.head, event);
  return 'applied';
}

function isOlderThanEveryWindow(layout: Layout, state: EntityState, timeUs: number): boolean {
  const horizonUs = state.lastEventTimeUs - headSpanUs;
  for (const group of layout.groups) if (!isDead(group, bucketOf(group, timeUs), horizonUs)) return false;
  return true;
}

function insertHead(head: HeadEvent[], event: HeadEvent): void {
  let at = head.length;
  while (at > 0 && isAfter(head[at - 1] as HeadEvent, event)) at--;
  if (at === head.length) head.push(event);
  else head.splice(at, 0, event);
}

function isAfter(x: HeadEvent, y: HeadEvent): boolean {
  if (x.timeUs !== y.timeUs) return x.timeUs > y.timeUs;
  if (x.seq !== y.seq) return x.seq > y.seq;
  return x.index > y.index;
}

/** Folds what need not stay outside tiles and drops tiles that no window can need any more. */
export function settleState(layout: Layout, state: EntityState, frontierUs: number, nowUs: number): void {
  const { head } = state;
  let fold = 0;
  while (fold < head.length) {
    const event = head[fold] as HeadEvent;
    if (event.timeUs > nowUs) break;
    if (head.length - fold <= layout.headMax && event.timeUs >= frontierUs - headSpanUs) break;
    foldEvent(layout, state, event);
    state.validFromUs = Math.max(state.validFromUs, event.timeUs + 1);
    fold++;
  }
  if (fold > 0) {
    // the rest at the same instant can only be read together with what was folded
    state.head = head.slice(fold);
  }
  const horizonUs = frontierUs - headSpanUs;
  for (const [index, group] of layout.groups.entries()) dropDead(state, group, state.tiles[index] as Tile[], horizonUs);
}

function dropDead(state: EntityState, group: Group, tiles: Tile[], horizonUs: number): void {
  let dead = 0;
  while (dead < tiles.length && isDead(group, (tiles[dead] as Tile).startUs, horizonUs)) dead++;
  if (dead === 0) return;
  const last = tiles[dead - 1] as Tile;
  state.validFromUs = Math.max(state.validFromUs, last.startUs + group.hopUs + group.maxSizeUs);
  tiles.splice(0, dead);
}

/** No window of the group as of t or later covers the bucket. */
function isDead(group: Group, bucketUs: number, t: number): boolean {
  return group.hopUs !== lifetimeHopUs && floorTo(t - group.maxSizeUs, group.hopUs) > bucketUs;
}

export function bucketOf(group: Group, timeUs: number): number {
  return group.hopUs === lifetimeHopUs ? 0 : floorTo(timeUs, group.hopUs);
}

function foldEvent(layout: Layout, state: EntityState, event: HeadEvent): void {
  for (let g = 0; g < layout.groups.length; g++) {
    const group = layout.groups[g] as Group;
    if (group.gapUs > 0) {
      foldIntoSessions(layout, group, state.tiles[g] as Tile[], event);
      continue;
    }
    const tile = tileAt(group, state.tiles[g] as Tile[], bucketOf(group, event.timeUs));
    mergeEvent(layout, group, tile.slots, tile.parts, event);
  }
}

/** The tile of a bucket, made when it is not there. */
export function tileAt(group: Group, tiles: Tile[], startUs: number): Tile {
  let at = tiles.length;
  while (at > 0 && (tiles[at - 1] as Tile).startUs > startUs) at--;
  const found = tiles[at - 1];
  if (found && found.startUs === startUs) return found;
  const tile = newTile(group, startUs);
  if (at === tiles.length) tiles.push(tile);
  else tiles.splice(at, 0, tile);
  return tile;
}
