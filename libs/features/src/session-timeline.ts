import type { Group, Layout } from './layout.ts';
import { collectSession, sessionEndUs } from './sessions.ts';
import { newTile } from './tiles.ts';
import type { TimelineMaker } from './timeline.ts';

/** The timeline of sessions: a step when an event becomes visible, and when the last one is too long ago. */
export function createSessionTimeline(layout: Layout, group: Group): TimelineMaker {
  return {
    steps({ head, validFromUs }, tiles, emit) {
      const newest = tiles.at(-1);
      const ends = newest ? [sessionEndUs(group, newest) + group.gapUs + 1] : [];
      for (const { timeUs } of head) ends.push(timeUs + 1, timeUs + group.gapUs + 1);
      const points = [...new Set([validFromUs, ...ends.filter((point) => point > validFromUs)])].sort((x, y) => x - y);
      for (const [step, asOfUs] of points.entries()) {
        const accumulator = newTile(group, 0);
        collectSession(layout, group, head, tiles, asOfUs, accumulator);
        emit(step, asOfUs, [accumulator]);
      }
      return points.length;
    },
  };
}
