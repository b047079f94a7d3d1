import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  createRandomState,
  groupKFold,
  groupShuffleSplit,
  kFold,
  type Label,
  type Split,
  shuffleSplit,
  stratifiedGroupKFold,
  stratifiedKFold,
  stratifiedShuffleSplit,
  timeSeriesSplit,
  trainTestSplit,
} from '../index.ts';

type Shape = { readonly classes: readonly Label[]; readonly groups: readonly Label[] };
type Options = { readonly stratify?: boolean; readonly splits?: number; readonly seed?: number };
type Rows = { readonly train?: readonly number[]; readonly test: readonly number[] };
type Case = { readonly splitter: string; readonly shape: number; readonly options: Options; readonly splits: Rows[] };

const reference = JSON.parse(readFileSync(new URL('./fixtures/splits.json', import.meta.url), 'utf8')) as {
  readonly shapes: readonly Shape[];
  readonly streams: readonly {
    readonly seed: number;
    readonly random: readonly number[];
    readonly permutation: readonly number[];
    readonly after: number;
  }[];
  readonly cases: readonly Case[];
};

const splitters: Readonly<Record<string, (shape: Shape, options: Options) => Split[]>> = {
  kFold: ({ classes }, options) => kFold(classes.length, options),
  stratifiedKFold: ({ classes }, options) => stratifiedKFold(classes, options),
  groupKFold: ({ groups }, options) => groupKFold(groups, options),
  stratifiedGroupKFold: ({ classes, groups }, options) => stratifiedGroupKFold(classes, groups, options),
  timeSeriesSplit: ({ classes }, options) => timeSeriesSplit(classes.length, options),
  shuffleSplit: ({ classes }, options) => shuffleSplit(classes.length, options),
  groupShuffleSplit: ({ groups }, options) => groupShuffleSplit(groups, options),
  stratifiedShuffleSplit: ({ classes }, options) => stratifiedShuffleSplit(classes, options),
  trainTestSplit: ({ classes }, { stratify, ...options }) => [
    trainTestSplit(classes.length, stratify ? { ...options, stratify: classes } : options),
  ],
};

test.each(Object.keys(splitters))('%s gives the rows that scikit-learn gives, index for index', (splitter) => {
  const cases = reference.cases.filter((each) => each.splitter === splitter);
  expect(cases.length).toBeGreaterThan(14);
  for (const { shape, options, splits } of cases) {
    const given = reference.shapes[shape];
    if (!given) throw new Error('every case has a shape');
    const found = splitters[splitter]?.(given, options) ?? [];
    const label = `shape ${shape}, ${JSON.stringify(options)}`;
    expect(found.length, label).toBe(splits.length);
    for (const [at, { train, test: held }] of splits.entries()) {
      expect([...(found[at]?.test ?? [])], `test rows of ${label}`).toEqual(held);
      const rest = given.classes.flatMap((_, row) => (held.includes(row) ? [] : [row]));
      expect([...(found[at]?.train ?? [])], `training rows of ${label}`).toEqual(train ?? rest);
    }
  }
});

test('a seed gives the numbers that NumPy gives', () => {
  expect(reference.streams.length).toBe(5);
  for (const { seed, random, permutation, after } of reference.streams) {
    const state = createRandomState(seed);
    expect(random.map(() => state.random())).toEqual(random);
    expect([...state.permutation(700)].slice(0, permutation.length)).toEqual(permutation);
    expect(state.random()).toBe(after);
  }
});

const labels = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 12, maxLength: 80 });

test('folds divide the rows, and a group is never on both sides', () => {
  fc.assert(
    fc.property(labels, fc.integer({ min: 2, max: 4 }), fc.boolean(), fc.nat(), (groups, splits, shuffle, seed) => {
      fc.pre(new Set(groups).size >= splits);
      const found = groupKFold(groups, { splits, shuffle, seed });
      expect(found.flatMap(({ test: held }) => [...held]).sort((x, y) => x - y)).toEqual(groups.map((_, row) => row));
      for (const { train, test: held } of found) {
        const inTrain = new Set(Array.from(train, (row) => groups[row]));
        expect(train.length + held.length).toBe(groups.length);
        for (const row of held) expect(inTrain.has(groups[row])).toBe(false);
      }
    }),
  );
});

test.each<[string, () => unknown, RegExp]>([
  ['more folds than rows', () => kFold(3, { splits: 4 }), /4 splits are more than the 3 rows/],
  ['one fold', () => kFold(3, { splits: 1 }), /1 splits are too few/],
  ['more folds than groups', () => groupKFold(['a', 'b', 'a'], { splits: 3 }), /more than the 2 groups/],
  ['folds that no class fills', () => stratifiedKFold(['a', 'b', 'a'], { splits: 3 }), /more than the 2 rows/],
  ['a series too short', () => timeSeriesSplit(10, { splits: 3, testSize: 3, gap: 1 }), /do not fit in 10 rows/],
  ['half a row of gap', () => timeSeriesSplit(10, { splits: 3, gap: 0.5 }), /gap 0.5 is not a whole number/],
  ['a test part of everything', () => trainTestSplit(4, { testSize: 4 }), /testSize 4 is neither/],
  ['parts beyond the rows', () => trainTestSplit(10, { testSize: 6, trainSize: 5 }), /more than the 10 rows/],
  ['no training rows', () => trainTestSplit(1, { testSize: 0.5 }), /no training rows are left of 1/],
  ['a class of one row', () => stratifiedShuffleSplit(['a', 'a', 'b'], { testSize: 0.5 }), /one row only/],
  ['a part below the classes', () => stratifiedShuffleSplit([1, 1, 2, 2], { testSize: 1 }), /cannot hold each of 2/],
  ['strata without a shuffle', () => trainTestSplit(4, { shuffle: false, stratify: [1, 1, 2, 2] }), /needs a shuffle/],
  ['mixed labels', () => groupKFold(['a', 1, 'b'], { splits: 2 }), /several kinds/],
  ['a label that is no number', () => groupKFold([1, Number.NaN, 2], { splits: 2 }), /not a number/],
])('%s is refused with the remedy', (_, call, message) => {
  expect(call).toThrow(message);
});
