import type { serving } from '@millrace/contracts';

/** The vector of one row; of a row without one zeros, as its status tells. */
export function vectorValues(column: serving.VectorColumn | undefined, row: number): readonly number[] {
  if (!column) return [];
  return column.values.slice(row * column.dimension, (row + 1) * column.dimension);
}

/** The list of one row of a column whose feature has a type such as `INT64[]`; booleans and times are integers, as in the block of int64s. */
export function listValues(
  column: serving.ListColumn | undefined,
  type: string,
  row: number,
): readonly (number | bigint | string | boolean)[] {
  if (!column) return [];
  const [start, end] = [column.ends[row - 1] ?? 0, column.ends[row] ?? 0];
  switch (type) {
    case 'DOUBLE[]':
      return column.doubles.slice(start, end);
    case 'STRING[]':
      return column.strings.slice(start, end);
    case 'BOOL[]':
      return column.int64s.slice(start, end).map((value) => value === 1n);
    default:
      return column.int64s.slice(start, end);
  }
}
