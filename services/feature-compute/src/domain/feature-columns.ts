import {
  asOfName,
  type Column,
  checkableFeatures,
  derivedOf,
  type FeatureType,
  type FeatureValue,
  type SourceField,
  type Value,
  type ViewDefinition,
  viewFeatureTypes,
} from '@millrace/features';
import type { FeatureBatch } from '@millrace/sources';

/** The values of a view's features in its order, derived ones left out, as of a time. */
export type FeatureRow = {
  readonly name: string;
  readonly values: readonly FeatureValue[];
  readonly asOfUs: number;
  readonly eventTimeUs: number;
};

/** Rows of a view's values as columns, with those of its derived features. */
export function compileFeatureColumns(view: ViewDefinition): (rows: readonly FeatureRow[]) => FeatureBatch {
  const fields = checkableFeatures(view);
  const types = viewFeatureTypes(view);
  const derived = derivedOf(view);
  const names = [...view.features.map(({ name }) => name), asOfName, ...derived.map(({ name }) => name)];
  const closures = derived.map(({ expression }) => expression.over(names));
  const places = fields.map(({ name }) => names.indexOf(name));
  return (rows) => {
    const whole = rows.map(({ values, asOfUs }) => {
      const row: Value[] = [...values.map((value, at) => toValue(types[at], value)), BigInt(Math.round(asOfUs))];
      for (const closure of closures) row.push(closure(row));
      return row;
    });
    return {
      count: rows.length,
      columns: columnsOf(
        fields,
        fields.map((_, at) => whole.map((row) => row[places[at] as number] ?? null)),
      ),
      eventTimeUs: Float64Array.from(rows, ({ eventTimeUs }) => eventTimeUs),
      name: (row) => rows[row]?.name ?? '',
    };
  };
}

/** Columns of values; integers and times as bigints. */
export function columnsOf(
  fields: readonly SourceField[],
  values: readonly (readonly Value[])[],
): ReadonlyMap<string, Column> {
  return new Map(fields.map(({ name, type }, at) => [name, columnOf(type, values[at] ?? [])]));
}

function columnOf(type: SourceField['type'], values: readonly Value[]): Column {
  const nulls = Uint8Array.from(values, (value) => Number(value === null));
  switch (type) {
    case 'DOUBLE':
      return { type: 'f64', values: Float64Array.from(values, Number), nulls };
    case 'BOOL':
      return { type: 'bool', values: Uint8Array.from(values, Number), nulls };
    case 'STRING':
      return { type: 'str', values: values.map((value) => (value === null ? '' : String(value))), nulls };
    default:
      return {
        type: 'i64',
        values: BigInt64Array.from(values, (value) => BigInt((value as bigint | null) ?? 0n)),
        nulls,
      };
  }
}

/** As expressions have it: integers are bigints, and what is not finite is no value. */
export function toValue(type: FeatureType | undefined, value: FeatureValue): Value {
  // no expression takes a list
  if (typeof value === 'object') return null;
  if (typeof value !== 'number') return value;
  if (type === 'INT64' || type === 'TIMESTAMP') return BigInt(value);
  return Number.isFinite(value) ? value : null;
}
