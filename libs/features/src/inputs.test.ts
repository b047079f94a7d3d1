import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkView } from './check-view.ts';
import { compileView } from './compiled-view.ts';
import { columnsOf } from './testing/columns.ts';
import { computedView, inputView, withComputed } from './testing/inputs.ts';
import { worldEvents, worldFields, worldReadTimes, worldStartUs } from './testing/worlds.ts';

test('features over an input are as features over a field that holds what the expression gives', () => {
  const [withInput, withField] = [compileView(inputView), compileView(computedView)];
  expect(inputView.features.length).toBeGreaterThan(60);
  let values = 0;
  fc.assert(
    fc.property(worldEvents, worldReadTimes, (events, times) => {
      const known = events.map((event, at) => ({ ...event, seq: at + 1, index: 0 }));
      const computed = known.map(withComputed);
      const [a, b] = [withInput.newState(), withField.newState()];
      const boundA = withInput.bind(columnsOf(worldFields, known));
      const boundB = withField.bind(columnsOf(computedView.fields, computed));
      for (const [row, { timeUs, seq }] of known.entries()) {
        withInput.apply(a, boundA, row, timeUs, seq, 0);
        withField.apply(b, boundB, row, timeUs, seq, 0);
      }
      for (const t of times.filter((time) => time >= worldStartUs)) {
        const found = withInput.valuesAt(a, t);
        values += found.filter((value) => value !== null).length;
        expect(found).toEqual(withField.valuesAt(b, t));
      }
    }),
    { numRuns: 60 },
  );
  expect(values).toBeGreaterThan(1_000);
});

test('a broken input is a problem of its feature, and says where', () => {
  const [feature] = inputView.features;
  if (!feature) throw new Error('the view has features');
  const problems = (changes: object) =>
    checkView({ ...inputView, features: [{ ...feature, function: 'sum', ...changes }] }).map(
      ({ path, problem }) => `${path}: ${problem}`,
    );
  expect(problems({ name: 'x', input: 'amuont * 2.0' })).toEqual([
    'features.x.input: input "amuont * 2.0", at character 1 ("amuont"): there is no "amuont"; names: key, d, i, b, s, at, v',
  ]);
  expect(problems({ name: 'x', input: 'd * 2.0', field: 'd' })).toEqual([
    'features.x.input: has a field, "d", and an input; keep one',
  ]);
  expect(problems({ name: 'x', input: 's.trim()' })).toEqual([
    'features.x.field: "sum" needs a number and input "s.trim()" is STRING',
  ]);
  expect(problems({ name: 'x', input: 'at + 5' })[0]).toMatch(/is a TIMESTAMP; name the field itself/);
});
