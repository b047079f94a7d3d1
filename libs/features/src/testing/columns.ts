import type { Column, EventColumns, FeatureValue, List, Scalar, SchemaType, SourceField } from '../types.ts';
import { dimensionOf, isVectorType } from '../vectors.ts';
import type { OracleEvent } from './oracle-value.ts';

/** Events as the columns of a batch. */
export function columnsOf(fields: readonly SourceField[], events: readonly OracleEvent[]): EventColumns {
  return {
    count: events.length,
    eventTimeUs: Float64Array.from(events, ({ timeUs }) => timeUs),
    columns: new Map(
      fields.map(({ name, type }) => [
        name,
        columnOf(
          type,
          events.map((event) => event.fields[name] ?? null),
        ),
      ]),
    ),
  };
}

function columnOf(type: SchemaType, given: readonly FeatureValue[]): Column {
  const nulls = given.includes(null) ? Uint8Array.from(given, (value) => Number(value === null)) : null;
  if (isVectorType(type)) {
    const dimension = dimensionOf(type);
    const values = new Float32Array(dimension * given.length);
    for (const [row, vector] of given.entries()) values.set(((vector ?? []) as List).map(Number), row * dimension);
    return { type: 'vec', dimension, values, nulls };
  }
  const values = given as readonly Scalar[];
  switch (type) {
    case 'DOUBLE':
      return { type: 'f64', values: Float64Array.from(values, Number), nulls };
    case 'INT64':
    case 'TIMESTAMP':
      return { type: 'i64', values: BigInt64Array.from(values, (value) => BigInt(value ?? 0)), nulls };
    case 'BOOL':
      return { type: 'bool', values: Uint8Array.from(values, Number), nulls };
    case 'STRING':
      return { type: 'str', values: values.map((value) => String(value ?? '')), nulls };
    default:
      return type satisfies never;
  }
}
