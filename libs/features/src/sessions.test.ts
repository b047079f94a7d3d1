import { expect, test } from 'vitest';
import { compileRowReader, compileView, rowView, type ViewDefinition } from './index.ts';
import { sessionsMax } from './sessions.ts';
import { viewOf } from './testing/index.ts';

const minuteUs = 60e6;
const startUs = 1e15;
const view: ViewDefinition = viewOf([
  { name: 'n', function: 'count', field: '', window: { t: 'session', gapUs: minuteUs }, filter: '', ddof: 0 },
  { name: 'age', function: 'age', field: '', window: { t: 'session', gapUs: minuteUs }, filter: '', ddof: 0 },
]);

function played(minutes: readonly number[]) {
  const compiled = compileView(view);
  const state = compiled.newState();
  const bound = compiled.bind({ count: 1, eventTimeUs: Float64Array.of(0), columns: new Map() });
  for (const [seq, minute] of minutes.entries()) {
    compiled.apply(state, bound, 0, startUs + minute * minuteUs, seq + 1, 0);
    const frontierUs = startUs + Math.max(...minutes.slice(0, seq + 1)) * minuteUs;
    compiled.settle(state, frontierUs, frontierUs);
  }
  const row = rowView(compiled.writeRow(state, { position: 1, knownTimeUs: 1 }));
  const reader = compileRowReader(view);
  return { state, at: (minute: number) => reader.valuesAt(row, startUs + minute * minuteUs) };
}

test('a session ends when the last event is longer ago than the gap, and not before', () => {
  const { at } = played([0, 1, 2, 3.5]);
  expect(at(3)).toEqual([3, 60]);
  expect(at(3 + 1e-6)).toEqual([0, null]);
  expect(at(4)).toEqual([1, 30]);
  expect(at(4.5)).toEqual([1, 60]);
  expect(at(4.6)).toEqual([0, null]);
});

test('a late event joins the sessions on both its sides', () => {
  const times = [0, 1, 40, 41];
  expect(played(times).at(41.5)?.[0]).toBe(2);
  const between = Array.from({ length: 38 }, (_, i) => 2 + i);
  expect(played([...times, ...between.slice(0, -1)]).at(41.5)?.[0]).toBe(2);
  expect(played([...times, ...between.toReversed()]).at(41.5)?.[0]).toBe(42);
});

test('the newest sessions stay, so many, and the current one counts in full', () => {
  const { state, at } = played(Array.from({ length: 400 }, (_, i) => 2 * i));
  expect(state.tiles.map(({ length }) => length)).toEqual([sessionsMax]);
  expect(at(798.5)?.[0]).toBe(1);
});
