import { MeshError } from '@millrace/kernel';
import { isObject } from './parse-body.ts';

/** A data frame as Feast's clients send it: equally long columns by name. */
export type Frame = { readonly rows: number; readonly columns: ReadonlyMap<string, readonly unknown[]> };

/** `{"column": [values]}`, or pandas' default `{"column": {"0": value}}`. */
export function parseFrame(df: Readonly<Record<string, unknown>>): Frame {
  const columns = new Map<string, readonly unknown[]>();
  let rows = -1;
  let first = '';
  for (const [name, given] of Object.entries(df)) {
    const values = Array.isArray(given) ? given : isObject(given) ? Object.values(given) : undefined;
    if (values === undefined) {
      throw new MeshError(
        'WRONG_TYPE',
        `column "${name}" of df is no list; send {"${name}": [<a value for each row>]}`,
        {
          column: name,
        },
      );
    }
    if (rows >= 0 && values.length !== rows) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `column "${name}" of df has ${values.length} values and "${first}" has ${rows}; all columns must be of the same length`,
        { column: name, values: values.length, rows },
      );
    }
    rows = values.length;
    first ||= name;
    columns.set(name, values);
  }
  if (rows <= 0) throw new MeshError('EMPTY_BATCH', 'df has no rows; send at least one', { rows: 0 });
  return { rows, columns };
}
