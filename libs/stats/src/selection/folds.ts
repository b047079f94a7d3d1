import { MeshError } from '@millrace/kernel';
import { encodeLabels, type Label } from './labels.ts';
import { type FoldOptions, foldCount, partSizes, type Split, shuffler, splitsOfFolds } from './split.ts';

/** K folds of consecutive (or shuffled) rows. As scikit-learn's KFold, index for index. INVALID_ARGUMENT for more folds than rows. */
export function kFold(rows: number, options: FoldOptions = {}): Split[] {
  const splits = foldCount(options, rows, 'rows');
  const order = Int32Array.from({ length: rows }, (_, row) => row);
  shuffler(options)?.shuffle(order);
  return splitsOfFolds(inParts(order, rows, splits), splits);
}

/** Items in their order, divided into parts: for each item its part. */
function inParts(order: Int32Array, items: number, parts: number): Int32Array {
  const partOf = new Int32Array(items);
  let at = 0;
  for (const [part, size] of partSizes(items, parts).entries())
    for (const end = at + size; at < end; at++) partOf[order[at] as number] = part;
  return partOf;
}

/**
 * K folds that each hold every class in about its share. As scikit-learn's StratifiedKFold, index for index. INVALID_ARGUMENT when no class has
 * as many rows as there are folds.
 */
export function stratifiedKFold(classes: readonly Label[], options: FoldOptions = {}): Split[] {
  const { codes, counts } = byAppearance(classes);
  const splits = foldCount(options, Math.max(0, ...counts), 'rows of the largest class');
  const random = shuffler(options);
  const allocation = allocate(counts, splits);
  const folds = new Int32Array(codes.length);
  for (let code = 0; code < counts.length; code++) {
    const ofClass = Int32Array.from(
      allocation.flatMap((perClass, fold) => new Array<number>(perClass[code] as number).fill(fold)),
    );
    random?.shuffle(ofClass);
    let next = 0;
    for (let row = 0; row < codes.length; row++) if (codes[row] === code) folds[row] = ofClass[next++] as number;
  }
  return splitsOfFolds(folds, splits);
}

/** Classes numbered in the order in which they first come. */
function byAppearance(classes: readonly Label[]) {
  const { codes } = encodeLabels(classes, 'classes');
  const renumbered = new Map<number, number>();
  for (const code of codes) if (!renumbered.has(code)) renumbered.set(code, renumbered.size);
  const counts = new Int32Array(renumbered.size);
  const appeared = codes.map((code) => renumbered.get(code) ?? 0);
  for (const code of appeared) counts[code] = (counts[code] as number) + 1;
  return { codes: appeared, counts };
}

/** For each fold how many rows of each class: the sorted classes dealt round. */
function allocate(counts: Int32Array, splits: number): Int32Array[] {
  const allocation = Array.from({ length: splits }, () => new Int32Array(counts.length));
  let dealt = 0;
  for (let code = 0; code < counts.length; code++) {
    for (let left = counts[code] as number; left > 0; left--) {
      const fold = allocation[dealt++ % splits] as Int32Array;
      fold[code] = (fold[code] as number) + 1;
    }
  }
  return allocation;
}

/**
 * K folds that keep a group's rows together: the largest group goes to the fold with the fewest rows, or with a shuffle, groups are dealt at
 * random. As scikit-learn's GroupKFold (1.6 or later), index for index. INVALID_ARGUMENT for more folds than groups.
 */
export function groupKFold(groups: readonly Label[], options: FoldOptions = {}): Split[] {
  const { codes, counts } = encodeLabels(groups, 'groups');
  const splits = foldCount(options, counts.length, 'groups');
  const random = shuffler(options);
  const foldOfGroup = random
    ? inParts(random.permutation(counts.length), counts.length, splits)
    : lightestFirst(counts, splits);
  return splitsOfFolds(
    codes.map((code) => foldOfGroup[code] as number),
    splits,
  );
}

function lightestFirst(counts: Int32Array, splits: number): Int32Array {
  const bySize = Array.from(counts, (count, group) => ({ count, group }))
    .sort((x, y) => x.count - y.count)
    .reverse();
  const load = new Array<number>(splits).fill(0);
  const foldOfGroup = new Int32Array(counts.length);
  for (const { count, group } of bySize) {
    const lightest = load.indexOf(Math.min(...load));
    load[lightest] = (load[lightest] as number) + count;
    foldOfGroup[group] = lightest;
  }
  return foldOfGroup;
}

export interface TimeSeriesOptions {
  /** 2 or more; 5 unless set. */
  readonly splits?: number;
  /** Test rows of a split; ⌊rows / (splits + 1)⌋ unless set. */
  readonly testSize?: number;
  /** Rows left out between training and test; 0 unless set. */
  readonly gap?: number;
  /** Only the newest so many training rows; all unless set. */
  readonly maxTrainSize?: number;
}

/** Rows in the order of time: each split trains on what comes before its test rows. As scikit-learn's TimeSeriesSplit. INVALID_ARGUMENT when too short. */
export function timeSeriesSplit(rows: number, options: TimeSeriesOptions = {}): Split[] {
  const splits = foldCount(options, rows - 1, 'rows after the first');
  const { gap = 0, maxTrainSize = Number.POSITIVE_INFINITY } = options;
  const testSize = options.testSize ?? Math.floor(rows / (splits + 1));
  for (const [name, value] of Object.entries({ testSize, gap, maxTrainSize }))
    if (!(value >= (name === 'gap' ? 0 : 1)) || (Number.isFinite(value) && !Number.isInteger(value)))
      throw new MeshError('INVALID_ARGUMENT', `${name} ${value} is not a whole number of rows`, { [name]: value });
  if (rows - gap - testSize * splits <= 0)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `${splits} splits of ${testSize} test rows and a gap of ${gap} do not fit in ${rows} rows; use fewer or smaller splits`,
      { rows, splits, testSize, gap },
    );
  return Array.from({ length: splits }, (_, split) => {
    const testStart = rows - (splits - split) * testSize;
    const trainEnd = testStart - gap;
    return {
      train: range(Math.max(0, trainEnd - maxTrainSize), trainEnd),
      test: range(testStart, testStart + testSize),
    };
  });
}

function range(from: number, to: number): Int32Array {
  return Int32Array.from({ length: to - from }, (_, index) => from + index);
}
