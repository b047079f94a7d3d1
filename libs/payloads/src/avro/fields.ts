import { definitions } from '@millrace/contracts';
import { fieldName } from '@millrace/kernel';
import type { PayloadField, PayloadFields, Unfit } from '../payload-field.ts';
import type { AvroRecord, AvroType } from './schema.ts';

const { BOOL, DOUBLE, INT64, STRING, TIMESTAMP } = definitions.FieldType;

/** Microseconds in one unit of a logical type of times; what says a local time is taken for UTC. */
export const timeUnitsUs: Readonly<Record<string, number>> = {
  'timestamp-millis': 1e3,
  'timestamp-micros': 1,
  'timestamp-nanos': 1e-3,
  'local-timestamp-millis': 1e3,
  'local-timestamp-micros': 1,
  'local-timestamp-nanos': 1e-3,
  date: 86_400e6,
};

/** The values of a record as fields of a source; nested records are flattened. */
export function avroFields(record: AvroRecord): PayloadFields {
  const fields: PayloadField[] = [];
  const unfit: Unfit[] = [];
  walk(record, { path: '', nullable: false, open: [] }, fields, unfit);
  return { fields, unfit };
}

type Place = { readonly path: string; readonly nullable: boolean; readonly open: readonly AvroRecord[] };

function walk(record: AvroRecord, place: Place, fields: PayloadField[], unfit: Unfit[]): void {
  for (const { name, type, fallback } of record.fields) {
    const path = place.path === '' ? name : `${place.path}.${name}`;
    const field = fieldName(path);
    const values = valuesOf(type);
    const nullable = place.nullable || values.length < (type.t === 'union' ? type.branches.length : 1);
    const [first] = values;
    if (values.length === 1 && first?.t === 'record') {
      if (place.open.includes(first) || first === record)
        unfit.push({
          field,
          path,
          why: `is record "${first.name}" inside itself, which has no end; leave it out of the fields`,
        });
      else walk(first, { path, nullable, open: [...place.open, record] }, fields, unfit);
      continue;
    }
    const types = new Set(values.map(fieldTypeOf));
    const [kind] = types;
    if (types.size !== 1 || typeof kind !== 'number') {
      const why =
        [...types].find((each) => typeof each === 'string') ??
        'is a union of several types; use a union of null and one type';
      unfit.push({ field, path, why: String(why) });
      continue;
    }
    fields.push({ field, path, type: kind, nullable, fallback: fallbackOf(fallback?.value, values, kind) });
  }
}

/** The types that a value can have beside null. */
export function valuesOf(type: AvroType): readonly AvroType[] {
  return (type.t === 'union' ? type.branches : [type]).filter(({ t }) => t !== 'null');
}

/** The field type, or why there is none. */
export function fieldTypeOf(type: AvroType): definitions.FieldType | string {
  const logical = 'logical' in type ? type.logical : '';
  switch (type.t) {
    case 'boolean':
      return BOOL;
    case 'int':
      return logical === 'date' ? TIMESTAMP : INT64;
    case 'long':
      return logical !== 'date' && timeUnitsUs[logical] !== undefined ? TIMESTAMP : INT64;
    case 'float':
    case 'double':
      return DOUBLE;
    case 'string':
    case 'enum':
      return STRING;
    case 'bytes':
    case 'fixed':
      return logical === 'decimal' || logical === 'big-decimal'
        ? 'is a decimal; send it as a double, or as a long of its smallest unit'
        : `is ${type.t}; send text or numbers`;
    case 'array':
    case 'map':
      return `is ${type.t === 'array' ? 'an array' : 'a map'}; send an event for each element, or fields of their own`;
    case 'record':
      return 'is a record among other types of a union; use a union of null and the record';
    case 'null':
      return 'is null and nothing else';
    case 'union':
      return 'is a union';
    default:
      return type satisfies never;
  }
}

/** The default as a value of the field; undefined for none and for null. */
export function fallbackOf(value: unknown, values: readonly AvroType[], type: definitions.FieldType) {
  if (value === undefined || value === null || typeof value === 'object') return undefined;
  if (type === TIMESTAMP) {
    const logical = values.map((each) => ('logical' in each ? each.logical : '')).find((each) => each !== '') ?? '';
    return Math.floor(Number(value) * (timeUnitsUs[logical] ?? 1));
  }
  if (type === DOUBLE) return Number(value);
  return typeof value === 'bigint' ? value.toString() : (value as string | number | boolean);
}
