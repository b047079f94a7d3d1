import type { Column, EventColumns, FieldType, Scalar, SourceField } from '../types.ts';
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

function columnOf(type: FieldType, values: readonly Scalar[]): Column {
  const nulls = values.includes(null) ? Uint8Array.from(values, (value) => Number(value === null)) : null;
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
