import { MeshError } from '@millrace/kernel';
import { createRandomState, type RandomState } from './random-state.ts';

/** Row numbers of a split; disjoint. */
export interface Split {
  readonly train: Int32Array;
  readonly test: Int32Array;
}

export interface FoldOptions {
  /** 2 or more; 5 unless set. */
  readonly splits?: number;
  /** Rows keep their order unless set. */
  readonly shuffle?: boolean;
  /** Of the shuffle; 0 unless set. */
  readonly seed?: number;
}

/** Folds that have been checked against what they divide. */
export function foldCount({ splits = 5 }: FoldOptions, available: number, what: string): number {
  if (!Number.isInteger(splits) || splits < 2)
    throw new MeshError('INVALID_ARGUMENT', `${splits} splits are too few or not whole; use 2 or more`, { splits });
  if (splits > available)
    throw new MeshError('INVALID_ARGUMENT', `${splits} splits are more than the ${available} ${what}; use fewer`, {
      splits,
      available,
    });
  return splits;
}

/** The source of randomness of a shuffle, or undefined without one. */
export function shuffler({ shuffle = false, seed = 0 }: FoldOptions): RandomState | undefined {
  return shuffle ? createRandomState(seed) : undefined;
}

/** One split for each fold: rows of the fold are its test rows, ascending, and all others its training rows. */
export function splitsOfFolds(folds: Int32Array, count: number): Split[] {
  return Array.from({ length: count }, (_, fold) => ({
    train: rowsWhere(folds, (of) => of !== fold),
    test: rowsWhere(folds, (of) => of === fold),
  }));
}

/** The numbers of rows whose code passes, ascending. */
export function rowsWhere(codes: Int32Array, passes: (code: number) => boolean): Int32Array {
  const rows: number[] = [];
  for (let row = 0; row < codes.length; row++) if (passes(codes[row] as number)) rows.push(row);
  return Int32Array.from(rows);
}

/** Sizes of parts of n: ⌊n / parts⌋, and one more for the first n mod parts. */
export function partSizes(n: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, part) => Math.floor(n / parts) + Number(part < n % parts));
}
