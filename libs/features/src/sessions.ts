import type { Group, Layout } from './layout.ts';
import { type Accumulator, type HeadEvent, mergeEvent, mergeTileInto, newTile, type Tile } from './tiles.ts';

/**
 * A session's tile starts at its first event and holds the time of its newest. Late events only ever join sessions. The newest 64 stay: what is
 * dropped counts again only if later events bridge every gap between those.
 */
export const sessionsMax = 64;

/** The time of its newest event. */
export function sessionEndUs(group: Group, session: Tile): number {
  return session.slots[group.endAt] as number;
}

/** Puts one event among the sessions of a group. */
export function foldIntoSessions(layout: Layout, group: Group, sessions: Tile[], event: HeadEvent): void {
  const run = newTile(group, event.timeUs);
  mergeEvent(layout, group, run.slots, run.parts, event);
  addSession(group, sessions, run);
}

/** Puts a run of events among the sessions, joined with those that it touches. */
export function addSession(group: Group, sessions: Tile[], run: Tile): void {
  let first = sessions.length;
  while (first > 0 && sessionEndUs(group, sessions[first - 1] as Tile) >= run.startUs - group.gapUs) first--;
  const lastStartUs = sessionEndUs(group, run) + group.gapUs;
  let end = first;
  while (end < sessions.length && (sessions[end] as Tile).startUs <= lastStartUs) end++;
  let joined = run;
  for (let i = first; i < end; i++) joined = together(group, sessions[i] as Tile, joined);
  sessions.splice(first, end - first, joined);
  if (sessions.length > sessionsMax) sessions.splice(0, sessions.length - sessionsMax);
}

/** The second is merged into the first. */
function together(group: Group, session: Tile, run: Tile): Tile {
  mergeTileInto(group, session.slots, session.parts, run);
  return { ...session, startUs: Math.min(session.startUs, run.startUs) };
}

/** Puts the session as of a time into an accumulator that is empty; `tiles` are all of events before that time. */
export function collectSession(
  layout: Layout,
  group: Group,
  head: readonly HeadEvent[],
  tiles: readonly Tile[],
  asOfUs: number,
  { slots, parts }: Accumulator,
): void {
  let [tile, event] = [0, 0];
  let [fromTile, fromEvent] = [0, 0];
  let endUs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const session = tiles[tile];
    const visible = head[event] !== undefined && (head[event] as HeadEvent).timeUs < asOfUs ? head[event] : undefined;
    const isSession = session !== undefined && (visible === undefined || session.startUs <= visible.timeUs);
    const startUs = isSession ? session.startUs : visible?.timeUs;
    if (startUs === undefined) break;
    if (startUs - endUs > group.gapUs) {
      fromTile = tile;
      fromEvent = event;
    }
    endUs = Math.max(endUs, isSession ? sessionEndUs(group, session) : startUs);
    if (isSession) tile++;
    else event++;
  }
  if (asOfUs - endUs > group.gapUs) return;
  for (; fromTile < tile; fromTile++) mergeTileInto(group, slots, parts, tiles[fromTile] as Tile);
  for (; fromEvent < event; fromEvent++) mergeEvent(layout, group, slots, parts, head[fromEvent] as HeadEvent);
}
