import type { Column, EventColumns, FieldType, SchemaType, SourceField } from './types.ts';
import { dimensionOf, isVectorType } from './vectors.ts';

const columnTypes: Readonly<Record<FieldType, Column['type']>> = {
  BOOL: 'bool',
  INT64: 'i64',
  DOUBLE: 'f64',
  STRING: 'str',
  TIMESTAMP: 'i64',
};

/**
 * Batches of another version of the source as this one reads them, the same as history does: a field that was added later has its default, or is
 * null; integers of a field that is DOUBLE now are widened; a column whose type cannot be read is null. Batches that fit are returned as they are.
 */
export function alignColumns(fields: readonly SourceField[]): (batch: EventColumns) => EventColumns {
  return (batch) => {
    const misfits = fields.filter((field) => {
      const column = batch.columns.get(field.name);
      return column === undefined ? field.default !== undefined : !isOf(column, field.type);
    });
    if (misfits.length === 0) return batch;
    const columns = new Map(batch.columns);
    for (const field of misfits) {
      const column = columns.get(field.name);
      const aligned = column === undefined ? filled(field, batch.count) : converted(column, field.type);
      if (aligned === undefined) columns.delete(field.name);
      else columns.set(field.name, aligned);
    }
    return { ...batch, columns };
  };
}

function isOf(column: Column, type: SchemaType): boolean {
  if (column.type === 'vec') return column.dimension === dimensionOf(type);
  return !isVectorType(type) && column.type === columnTypes[type];
}

/** A vector has no default. */
function filled({ type, default: value }: SourceField, count: number): Column | undefined {
  if (isVectorType(type)) return undefined;
  switch (columnTypes[type]) {
    case 'f64':
      return { type: 'f64', values: new Float64Array(count).fill(Number(value)), nulls: null };
    case 'i64':
      return { type: 'i64', values: new BigInt64Array(count).fill(BigInt(value ?? 0)), nulls: null };
    case 'bool':
      return { type: 'bool', values: new Uint8Array(count).fill(value === true ? 1 : 0), nulls: null };
    default:
      return { type: 'str', values: new Array<string>(count).fill(String(value)), nulls: null };
  }
}

function converted(column: Column, type: SchemaType): Column | undefined {
  if (type !== 'DOUBLE' || column.type !== 'i64') return undefined;
  return { type: 'f64', values: Float64Array.from(column.values, Number), nulls: column.nulls };
}
