import type { Value } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { ShapeField } from '@millrace/registry';
import type { Plan, ReadValue } from './plan.ts';

/** A column of request data as the caller sent it; `kind` is what the values are. */
export type RequestDataColumn = {
  readonly name: string;
  readonly kind: 'DOUBLE' | 'INT64' | 'STRING' | 'BOOL' | 'EMPTY';
  /** Null where it was sent as such. */
  readonly values: readonly (string | number | bigint | boolean | null)[];
};

/** Checks request data against the fields that the plan's service declares, and gives a reader for each, in their order. */
export function bindRequestData(plan: Plan, given: readonly RequestDataColumn[], rows: number): readonly ReadValue[] {
  const fields = plan.derivation?.requestFields ?? [];
  for (const { name } of given)
    if (!fields.some((field) => field.name === name)) throw unknownField(plan.name, name, fields);
  return fields.map((field) => {
    const column = given.find(({ name }) => name === field.name);
    if (!column || column.kind === 'EMPTY') {
      if (field.nullable) return () => null;
      throw new MeshError(
        'MISSING_REQUEST_DATA',
        `request field "${field.name}" is missing; feature service "${plan.name}" needs ${listOf(fields)}`,
        { field: field.name, featureService: plan.name },
      );
    }
    if (column.values.length !== rows)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `request field "${field.name}" has ${column.values.length} values for ${rows} rows; send one for each row`,
        { field: field.name, values: column.values.length, rows },
      );
    const values = column.values.map((value, row) => checkedValue(field, column.kind, value, row));
    return (row) => values[row] ?? null;
  });
}

/** How many rows request data alone asks for. */
export function requestRows(given: readonly RequestDataColumn[]): number {
  return given.reduce((most, { values }) => Math.max(most, values.length), 0);
}

function checkedValue(field: ShapeField, kind: string, value: RequestDataColumn['values'][number], row: number): Value {
  if (value === null || (typeof value === 'number' && Number.isNaN(value))) {
    if (field.nullable) return null;
    throw new MeshError(
      'MISSING_REQUEST_DATA',
      `request field "${field.name}" of row ${row} is null, and it is not nullable`,
      { field: field.name, row },
    );
  }
  const converted = convert(field, value);
  if (converted !== undefined) return converted;
  throw new MeshError(
    'WRONG_TYPE',
    `request field "${field.name}" of row ${row} is ${String(value)}, sent as ${kind}, and the field is ${field.type}; send ${field.type} values`,
    { field: field.name, row, sent: kind, type: field.type },
  );
}

/** A number for another kind of number is taken when it is exact; undefined when the value is none of the field's. */
function convert({ type }: ShapeField, value: string | number | bigint | boolean): Value | undefined {
  switch (type) {
    case 'DOUBLE':
      return typeof value === 'number' || typeof value === 'bigint' ? finiteNumber(value) : undefined;
    case 'INT64':
    case 'TIMESTAMP':
      if (typeof value === 'bigint') return value;
      return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
    case 'BOOL':
      if (typeof value === 'boolean') return value;
      return value === 0 || value === 1 ? value === 1 : undefined;
    case 'STRING':
      return typeof value === 'string' ? value : undefined;
    default:
      return type satisfies never;
  }
}

function finiteNumber(value: number | bigint): number | undefined {
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

function unknownField(service: string, name: string, fields: readonly ShapeField[]): MeshError {
  return new MeshError(
    'INVALID_ARGUMENT',
    `"${name}" is not a request field of feature service "${service}"; it takes ${fields.length === 0 ? 'none' : listOf(fields)}`,
    { field: name, featureService: service },
  );
}

function listOf(fields: readonly ShapeField[]): string {
  return fields
    .map(({ name, type, nullable }) => `"${name}" (${type}${nullable ? ', may be left out' : ''})`)
    .join(', ');
}
