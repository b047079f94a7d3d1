import type { Column, FieldType } from '../types.ts';
import type { Evaluate, Value } from './node.ts';

/** The values of a batch's column; of a column that is not there, nulls. */
export function columnReader(column: Column | undefined): Evaluate {
  if (!column) return () => null;
  const { nulls } = column;
  const read = presentReader(column);
  return nulls ? (row) => (nulls[row] === 1 ? null : read(row)) : read;
}

function presentReader(column: Column): Evaluate {
  switch (column.type) {
    case 'bool':
      return (row) => column.values[row] === 1;
    case 'f64':
    case 'i64':
    case 'str':
      return (row) => column.values[row] ?? null;
    case 'vec':
      // no expression uses one
      return () => null;
    default:
      return column satisfies never;
  }
}

/** What an expression gives for each row of a batch, as a column. */
export function columnOf(type: FieldType, count: number, evaluate: Evaluate): Column {
  const nulls = new Uint8Array(count);
  const fill = (put: (row: number, value: NonNullable<Value>) => void): Uint8Array | null => {
    let some = false;
    for (let row = 0; row < count; row++) {
      const value = evaluate(row);
      if (value === null) {
        nulls[row] = 1;
        some = true;
      } else put(row, value);
    }
    return some ? nulls : null;
  };
  switch (type) {
    case 'DOUBLE': {
      const values = new Float64Array(count);
      return { type: 'f64', values, nulls: fill((row, value) => (values[row] = value as number)) };
    }
    case 'INT64':
    case 'TIMESTAMP': {
      const values = new BigInt64Array(count);
      return { type: 'i64', values, nulls: fill((row, value) => (values[row] = value as bigint)) };
    }
    case 'BOOL': {
      const values = new Uint8Array(count);
      return { type: 'bool', values, nulls: fill((row, value) => (values[row] = Number(value))) };
    }
    case 'STRING': {
      const values = new Array<string>(count).fill('');
      return { type: 'str', values, nulls: fill((row, value) => (values[row] = value as string)) };
    }
    default:
      return type satisfies never;
  }
}
