import {
  type ElementType,
  elementOf,
  type FeatureType,
  type FeatureValue,
  type FieldType,
  isVectorType,
  type Scalar,
} from '@millrace/features';

/** Text pieces of ClickHouse SQL: names, literals and types, and values read back from JSON. */
export { sqlName } from '@millrace/features';

export function sqlLiteral(value: Exclude<Scalar, null>): string {
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  return String(value);
}

export function sqlType(type: FieldType): string {
  switch (type) {
    case 'BOOL':
      return 'Bool';
    case 'INT64':
    case 'TIMESTAMP':
      return 'Int64';
    case 'DOUBLE':
      return 'Float64';
    case 'STRING':
      return 'String';
    default:
      return type satisfies never;
  }
}

/** A value of ClickHouse's JSON formats (64-bit integers quoted) as the feature's type. */
export function columnValue(value: unknown, type: FeatureType): FeatureValue {
  if (value === null || value === undefined) return null;
  const element = elementOf(type);
  if (element === undefined) return scalarValue(value, type as FieldType);
  if (!Array.isArray(value)) return [];
  // a vector that is null is empty in ClickHouse
  if (isVectorType(type) && value.length === 0) return null;
  return value.map((each) => scalarValue(each, element));
}

/** One that is not null. */
export function scalarValue(value: unknown, type: ElementType): Exclude<Scalar, null> {
  switch (type) {
    case 'BOOL':
      return value === true || value === 1 || value === '1';
    case 'INT64':
    case 'TIMESTAMP': {
      const integer = BigInt(value as string | number);
      return integer >= Number.MIN_SAFE_INTEGER && integer <= Number.MAX_SAFE_INTEGER ? Number(integer) : integer;
    }
    case 'DOUBLE':
      return Number(value);
    case 'FLOAT32':
      return Math.fround(Number(value));
    case 'STRING':
      return String(value);
    default:
      return type satisfies never;
  }
}
