import { trainingSets } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import {
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
} from '@millrace/stats';

const kinds = trainingSets.SplitKind;

/** Columns that say on which side of a split each row is. */
export type SplitColumns =
  | { readonly t: 'folds'; readonly fold: Int32Array }
  /** For each column a byte a row: 0 neither, 1 train, 2 test. */
  | { readonly t: 'sides'; readonly names: readonly string[]; readonly sides: readonly Uint8Array[] };

export const sideNames = ['', 'train', 'test'] as const;
const splitsMax = 100;

const stratified: ReadonlySet<number> = new Set([
  kinds.STRATIFIED_K_FOLD,
  kinds.STRATIFIED_GROUP_K_FOLD,
  kinds.STRATIFIED_SHUFFLE,
]);
const grouped: ReadonlySet<number> = new Set([kinds.GROUP_K_FOLD, kinds.STRATIFIED_GROUP_K_FOLD, kinds.GROUP_SHUFFLE]);

/** INVALID_ARGUMENT for a splitter without the columns that it needs. */
export function checkSplit(split: trainingSets.TrainingSetSplit): void {
  if (stratified.has(split.kind) && split.stratifyBy === '')
    throw new MeshError('INVALID_ARGUMENT', 'this split keeps shares of classes; name their column in stratify_by', {});
  if (grouped.has(split.kind) && split.groupBy === '')
    throw new MeshError('INVALID_ARGUMENT', 'this split keeps groups together; name their column in group_by', {});
  if (split.splits > splitsMax)
    throw new MeshError('LIMIT_EXCEEDED', `${split.splits} splits are over the limit of ${splitsMax}; ask for fewer`, {
      splits: split.splits,
      limit: splitsMax,
    });
}

/** Whether rows of different times are mixed at random between training and test. */
export function isRandom({ kind, shuffle }: trainingSets.TrainingSetSplit): boolean {
  switch (kind) {
    case kinds.HOLD_OUT:
      return shuffle ?? true;
    case kinds.TIME_SERIES:
    case kinds.UNSPECIFIED:
      return false;
    default:
      return true;
  }
}

/** The split of `rows` rows in the order of the labels, index for index as scikit-learn splits them with `random_state=seed`. */
export function splitRows(
  split: trainingSets.TrainingSetSplit,
  rows: number,
  seed: number,
  columns: { readonly classes?: readonly Label[]; readonly groups?: readonly Label[] },
): SplitColumns {
  const { classes = [], groups = [] } = columns;
  const times = split.splits > 0 ? { splits: split.splits } : {};
  const sizes = {
    ...(split.testSize > 0 ? { testSize: split.testSize } : {}),
    ...(split.trainSize > 0 ? { trainSize: split.trainSize } : {}),
  };
  const shuffle = split.shuffle === undefined ? {} : { shuffle: split.shuffle };
  const folds = { ...times, ...shuffle, seed };
  switch (split.kind) {
    case kinds.HOLD_OUT: {
      const stratify = split.stratifyBy === '' ? {} : { stratify: classes };
      return sidesOf(['split'], [trainTestSplit(rows, { ...sizes, ...shuffle, ...stratify, seed })], rows);
    }
    case kinds.K_FOLD:
      return foldsOf(kFold(rows, folds), rows);
    case kinds.STRATIFIED_K_FOLD:
      return foldsOf(stratifiedKFold(classes, folds), rows);
    case kinds.GROUP_K_FOLD:
      return foldsOf(groupKFold(groups, folds), rows);
    case kinds.STRATIFIED_GROUP_K_FOLD:
      return foldsOf(stratifiedGroupKFold(classes, groups, folds), rows);
    case kinds.TIME_SERIES: {
      const testSize = split.testSize > 0 ? { testSize: split.testSize } : {};
      const maxTrainSize = split.maxTrainSize > 0 ? { maxTrainSize: split.maxTrainSize } : {};
      return several(timeSeriesSplit(rows, { ...times, ...testSize, ...maxTrainSize, gap: split.gap }), rows);
    }
    case kinds.SHUFFLE:
      return several(shuffleSplit(rows, { ...times, ...sizes, seed }), rows);
    case kinds.STRATIFIED_SHUFFLE:
      return several(stratifiedShuffleSplit(classes, { ...times, ...sizes, seed }), rows);
    case kinds.GROUP_SHUFFLE:
      return several(groupShuffleSplit(groups, { ...times, ...sizes, seed }), rows);
    default:
      throw new MeshError('INVALID_ARGUMENT', `${split.kind} is not a kind of split`, { kind: split.kind });
  }
}

function foldsOf(splits: readonly Split[], rows: number): SplitColumns {
  const fold = new Int32Array(rows);
  for (const [at, { test }] of splits.entries()) for (const row of test) fold[row] = at;
  return { t: 'folds', fold };
}

function several(splits: readonly Split[], rows: number): SplitColumns {
  return sidesOf(
    splits.map((_, at) => `split_${at}`),
    splits,
    rows,
  );
}

function sidesOf(names: readonly string[], splits: readonly Split[], rows: number): SplitColumns {
  const sides = splits.map(({ train, test }) => {
    const side = new Uint8Array(rows);
    for (const row of train) side[row] = 1;
    for (const row of test) side[row] = 2;
    return side;
  });
  return { t: 'sides', names, sides };
}
