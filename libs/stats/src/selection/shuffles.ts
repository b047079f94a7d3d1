import { MeshError } from '@millrace/kernel';
import { encodeLabels, type Label } from './labels.ts';
import { createRandomState, type RandomState } from './random-state.ts';
import { rowsWhere, type Split } from './split.ts';

export interface HoldOutOptions {
  /** Below 1: the share of rows, rounded up; else the number of rows. */
  readonly testSize?: number;
  /** Below 1: the share of rows, rounded down; else the number of rows; all that are not test rows unless set. */
  readonly trainSize?: number;
  /** 0 unless set. */
  readonly seed?: number;
}

export interface ShuffleOptions extends HoldOutOptions {
  /** How many times; 10 unless set (5 for groups). */
  readonly splits?: number;
}

/**
 * One random split. With `stratify` each class keeps its share; with `shuffle: false` the last rows are the test rows. testSize is 0.25 unless set.
 * As scikit-learn's train_test_split, index for index. INVALID_ARGUMENT when a part would be empty.
 */
export function trainTestSplit(
  rows: number,
  options: HoldOutOptions & { readonly stratify?: readonly Label[]; readonly shuffle?: boolean } = {},
): Split {
  const { stratify, shuffle = true, seed = 0 } = options;
  const { train: trainSize, test: testSize } = sizes(rows, options, 0.25);
  if (!shuffle) {
    if (stratify) throw new MeshError('INVALID_ARGUMENT', 'a split by class needs a shuffle; leave "shuffle" out');
    const all = Int32Array.from({ length: rows }, (_, row) => row);
    return { train: all.slice(0, trainSize), test: all.slice(trainSize, trainSize + testSize) };
  }
  const exact = { trainSize, testSize, seed, splits: 1 };
  const [split] = stratify ? stratifiedShuffleSplit(stratify, exact) : shuffleSplit(rows, exact);
  if (!split) throw new MeshError('INTERNAL', 'one split gave none');
  return split;
}

/** Random splits, each on its own. testSize is 0.1 unless set. As scikit-learn's ShuffleSplit, index for index. */
export function shuffleSplit(rows: number, options: ShuffleOptions = {}): Split[] {
  const { train, test } = sizes(rows, options, 0.1);
  const random = createRandomState(options.seed ?? 0);
  return Array.from({ length: options.splits ?? 10 }, () => {
    const order = random.permutation(rows);
    return { train: order.slice(test, test + train), test: order.slice(0, test) };
  });
}

/** Random splits of whole groups; sizes count groups; testSize is 0.2 unless set. As scikit-learn's GroupShuffleSplit, index for index. */
export function groupShuffleSplit(groups: readonly Label[], options: ShuffleOptions = {}): Split[] {
  const { codes, counts } = encodeLabels(groups, 'groups');
  const given = { ...options, splits: options.splits ?? 5, ...(hasSize(options) ? {} : { testSize: 0.2 }) };
  return shuffleSplit(counts.length, given).map(({ train, test }) => {
    const [inTrain, inTest] = [new Set(train), new Set(test)];
    return { train: rowsWhere(codes, (code) => inTrain.has(code)), test: rowsWhere(codes, (code) => inTest.has(code)) };
  });
}

/**
 * Random splits in which each class keeps its share. testSize is 0.1 unless set. As scikit-learn's StratifiedShuffleSplit, index for index.
 * INVALID_ARGUMENT for a class of one row and for parts that cannot hold every class.
 */
export function stratifiedShuffleSplit(classes: readonly Label[], options: ShuffleOptions = {}): Split[] {
  const { codes, counts } = encodeLabels(classes, 'classes');
  const size = sizes(codes.length, options, 0.1);
  if (counts.includes(1))
    throw new MeshError('INVALID_ARGUMENT', 'a class has one row only; a split by class needs two of each');
  for (const [part, rows] of Object.entries(size))
    if (rows < counts.length)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `${rows} ${part} rows cannot hold each of ${counts.length} classes; make the part larger`,
        { rows, classes: counts.length },
      );
  const rowsOfClass = Array.from(counts, (_, code) => rowsWhere(codes, (of) => of === code));
  const random = createRandomState(options.seed ?? 0);
  return Array.from({ length: options.splits ?? 10 }, () => {
    const trainOf = approximateMode(counts, size.train, random);
    const testOf = approximateMode(
      counts.map((count, code) => count - (trainOf[code] as number)),
      size.test,
      random,
    );
    const train: number[] = [];
    const test: number[] = [];
    for (const [code, rows] of rowsOfClass.entries()) {
      const order = Array.from(random.permutation(rows.length), (place) => rows[place] as number);
      const kept = trainOf[code] as number;
      train.push(...order.slice(0, kept));
      test.push(...order.slice(kept, kept + (testOf[code] as number)));
    }
    random.shuffle(train);
    random.shuffle(test);
    return { train: Int32Array.from(train), test: Int32Array.from(test) };
  });
}

/** How many of `draws` fall on each class: its share rounded down, then by the largest remainder, ties at random. */
function approximateMode(counts: Int32Array, draws: number, random: RandomState): Int32Array {
  const total = counts.reduce((all, count) => all + count, 0);
  const shares = Float64Array.from(counts, (count) => (count / total) * draws);
  const drawn = Int32Array.from(shares, Math.floor);
  const remainders = shares.map((share, code) => share - (drawn[code] as number));
  let missing = draws - drawn.reduce((all, count) => all + count, 0);
  for (const value of [...new Set(remainders)].sort((x, y) => y - x)) {
    if (missing === 0) break;
    const tied = [...remainders.keys()].filter((code) => remainders[code] === value);
    const adding = Math.min(tied.length, missing);
    for (const place of random.permutation(tied.length).subarray(0, adding)) {
      const code = tied[place] as number;
      drawn[code] = (drawn[code] as number) + 1;
    }
    missing -= adding;
  }
  return drawn;
}

function hasSize({ testSize, trainSize }: HoldOutOptions): boolean {
  return testSize !== undefined || trainSize !== undefined;
}

function sizes(
  rows: number,
  options: HoldOutOptions,
  usual: number,
): { readonly train: number; readonly test: number } {
  const { trainSize } = options;
  const testSize = hasSize(options) ? options.testSize : usual;
  const of = (size: number, name: string, round: (share: number) => number) => {
    if (!(size > 0) || size >= rows || (size > 1 && !Number.isInteger(size)))
      throw new MeshError(
        'INVALID_ARGUMENT',
        `${name} ${size} is neither a share between 0 and 1 nor a whole number below the ${rows} rows`,
        { [name]: size, rows },
      );
    return size < 1 ? round(size * rows) : size;
  };
  const givenTrain = trainSize === undefined ? undefined : of(trainSize, 'trainSize', Math.floor);
  const test = testSize === undefined ? rows - (givenTrain ?? 0) : of(testSize, 'testSize', Math.ceil);
  const train = givenTrain ?? rows - test;
  if (train + test > rows)
    throw new MeshError('INVALID_ARGUMENT', `${train} training and ${test} test rows are more than the ${rows} rows`, {
      train,
      test,
      rows,
    });
  if (train === 0)
    throw new MeshError('INVALID_ARGUMENT', `no training rows are left of ${rows}; make the test part smaller`, {
      rows,
    });
  return { train, test };
}
