import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  compileRowReader,
  compileView,
  type EntityState,
  rowView,
  type ViewDefinition,
  valueOfNothing,
} from './index.ts';
import {
  agrees,
  columnsOf,
  everyFeature,
  everyView,
  type OracleEvent,
  oracleValues,
  viewOf,
  type WorldEvent,
  worldEvents,
  worldFilters,
  worldReadTimes,
  worldStartUs,
  worldViews,
} from './testing/index.ts';

/** Another run of all of it: MILLRACE_FUZZ_SEED=… vitest run libs/features; a failure prints the seed that it had. */
if (process.env.MILLRACE_FUZZ_SEED) fc.configureGlobal({ seed: Number(process.env.MILLRACE_FUZZ_SEED) });

let comparedInAll = 0;
const minuteUs = 60e6;
const countHour = {
  name: 'n',
  function: 'count',
  field: '',
  window: { t: 'sliding', sizeUs: 60 * minuteUs, hopUs: 0 },
  filter: '',
  ddof: 1,
} as const;

/** When the state is settled and how, between batches. */
const rhythm = fc.record({
  batch: fc.integer({ min: 1, max: 9 }),
  settleEvery: fc.integer({ min: 1, max: 4 }),
  saveEvery: fc.integer({ min: 1, max: 3 }),
  clockBehindUs: fc.constantFrom(Number.NEGATIVE_INFINITY, 0, minuteUs, 5 * minuteUs),
});
type Rhythm = typeof rhythm extends fc.Arbitrary<infer T> ? T : never;

/** Runs events through a view as feature-compute does; the events in the order of the stream. */
function play(view: ViewDefinition, events: readonly WorldEvent[], how: Rhythm) {
  const compiled = compileView(view);
  let state: EntityState = compiled.newState();
  const applied: OracleEvent[] = [];
  let frontierUs = 0;
  let seq = 0;
  for (let from = 0; from < events.length; from += how.batch) {
    seq++;
    const batch = events.slice(from, from + how.batch).map((event, index) => ({ ...event, seq, index }));
    const bound = compiled.bind(columnsOf(view.fields, batch));
    for (const [row, event] of batch.entries()) {
      compiled.apply(state, bound, row, event.timeUs, seq, row);
      frontierUs = Math.max(frontierUs, event.timeUs);
    }
    applied.push(...batch);
    if (seq % how.settleEvery === 0) compiled.settle(state, frontierUs, frontierUs - how.clockBehindUs);
    if (seq % how.saveEvery === 0) state = compiled.decodeState(compiled.encodeState(state));
  }
  return { compiled, state, applied, frontierUs };
}

function mismatches(view: ViewDefinition, events: readonly WorldEvent[], how: Rhythm, times: readonly number[]) {
  const { compiled, state, applied, frontierUs } = play(view, events, how);
  const reader = compileRowReader(view);
  const row = rowView(compiled.writeRow(state, { position: 7, knownTimeUs: 9 }));
  const firstUs = reader.firstStepUs(row);
  const around = applied.flatMap(({ timeUs }) => [timeUs, timeUs + 1]);
  const wrong: unknown[] = [];
  let compared = 0;
  for (const t of [firstUs, ...times, ...around, frontierUs + 1, frontierUs + 400 * 60 * minuteUs]) {
    const values = reader.valuesAt(row, t);
    if (t < firstUs) {
      expect(values).toBeUndefined();
      continue;
    }
    const fromState = compiled.valuesAt(state, t);
    const expected = oracleValues(view, applied, t, worldFilters);
    for (const [at, feature] of view.features.entries()) {
      const type = compiled.types[at] ?? 'DOUBLE';
      const want = expected[at];
      if (!want) throw new Error('the oracle answers every feature');
      compared++;
      comparedInAll++;
      for (const [path, value] of [
        ['row', values?.[at] ?? null],
        ['state', fromState[at] ?? null],
      ] as const)
        if (!agrees(feature, type, value, want))
          wrong.push({
            path,
            feature,
            t: t - worldStartUs,
            value,
            expected: want.value,
            firstUs: firstUs - worldStartUs,
          });
    }
  }
  return { wrong, compared };
}

test('a row read at any time from its first step on says what brute force over all events says', () => {
  let compared = 0;
  fc.assert(
    fc.property(worldViews, worldEvents, rhythm, worldReadTimes, (view, events, how, times) => {
      const result = mismatches(view, events, how, times);
      compared += result.compared;
      expect(result.wrong.slice(0, 3)).toEqual([]);
    }),
    { numRuns: 400 },
  );
  expect(compared).toBeGreaterThan(15_000);
});

test.each(everyView().map((view, part) => [part + 1, view] as const))(
  'every function on every field over every window, with and without filters, equals brute force (part %i)',
  (_, view) => {
    fc.assert(
      fc.property(worldEvents, rhythm, worldReadTimes, (events, how, times) => {
        expect(mismatches(view, events, how, times).wrong.slice(0, 3)).toEqual([]);
      }),
      { numRuns: 6 },
    );
  },
);

test('an entity without events has what is said to be the value of nothing', () => {
  for (const view of everyView()) {
    const compiled = compileView(view);
    expect(compiled.valuesAt(compiled.newState(), worldStartUs)).toEqual(view.features.map(valueOfNothing));
  }
  expect(everyFeature().map(valueOfNothing)).toEqual(expect.arrayContaining([0, null, [], [0, 0]]));
});

test('between events an age grows and a decayed count halves, and an event that makes up for it exactly is not lost', () => {
  const hour = { ...countHour, window: { t: 'sliding', sizeUs: 60 * minuteUs, hopUs: 0 } } as const;
  const view = viewOf([
    { ...hour, name: 'age', function: 'age' },
    { ...hour, name: 'decayed', function: 'decayed_count', halfLifeUs: minuteUs },
  ]);
  const events = [0, 0, 60].map((seconds) => ({ timeUs: worldStartUs + seconds * 1e6, fields: { key: 'a' } }));
  const { compiled, state } = play(view, events, { batch: 9, settleEvery: 9, saveEvery: 9, clockBehindUs: 0 });
  const reader = compileRowReader(view);
  const row = rowView(compiled.writeRow(state, { position: 1, knownTimeUs: 1 }));
  const at = (seconds: number) => reader.valuesAt(row, worldStartUs + seconds * 1e6);
  expect(at(30)?.[0]).toBe(30);
  expect(at(30)?.[1]).toBeCloseTo(2 * Math.SQRT1_2, 12);
  expect(at(60)).toEqual([60, 1]);
  expect(at(90)?.[0]).toBe(30);
  expect(at(90)?.[1]).toBeCloseTo(2 * Math.SQRT1_2, 12);
  expect(at(120.25)?.[0]).toBe(60.25);
  expect(at(5000)).toEqual([null, 0]);
});

test('when the state is settled and saved does not alter a value', () => {
  fc.assert(
    fc.property(worldViews, worldEvents, rhythm, rhythm, worldReadTimes, (view, events, one, other, times) => {
      const [a, b] = [one, other].map((how) => play(view, events, { ...how, batch: 3 }));
      if (!a || !b) throw new Error('two were played');
      const from = Math.max(a.state.validFromUs, b.state.validFromUs);
      for (const t of times.filter((time) => time >= from)) {
        const [x, y] = [a, b].map(({ compiled, state }) => compiled.valuesAt(state, t));
        const largest = oracleValues(view, a.applied, t, worldFilters);
        for (const [at, feature] of view.features.entries()) {
          const scale = { ...(largest[at] ?? { largest: 0, count: 0 }), value: y?.[at] ?? null };
          expect(agrees(feature, a.compiled.types[at] ?? 'DOUBLE', x?.[at] ?? null, scale), feature.name).toBe(true);
        }
      }
    }),
    { numRuns: 150 },
  );
});

test('events that a reader may still ask behind, and events whose time has not come, keep their own steps', () => {
  const view = viewOf([{ ...countHour, filter: '' }]);
  const events = Array.from({ length: 30 }, (_, i) => ({ timeUs: worldStartUs + i * 20e6, fields: { key: 'a' } }));
  const { compiled, state } = play(view, events, { batch: 1, settleEvery: 1, saveEvery: 9, clockBehindUs: 0 });
  const reader = compileRowReader(view);
  const row = rowView(compiled.writeRow(state, { position: 1, knownTimeUs: 1 }));
  expect(reader.firstStepUs(row)).toBeLessThan(worldStartUs + 20e6);
  for (let i = 1; i < 30; i++) expect(reader.valuesAt(row, worldStartUs + i * 20e6)?.[0]).toBe(i);
});

test('more than 100,000 values were compared with brute force', () => {
  expect(comparedInAll).toBeGreaterThan(100_000);
});
