import type { FieldType } from '@millrace/features';
import type { Plan } from '../domain/plan.ts';
import type { RequestDataColumn } from '../domain/request-data.ts';
import type { RequestRow } from './rest-schemas.ts';
import { parseTimeUs } from './rest-time.ts';

type Datum = RequestDataColumn['values'][number];

/** Request data by row → by field. Integers beyond 2^53 come as strings, times as RFC 3339 or microseconds. */
export function requestColumns(
  plan: Plan,
  given: RequestRow | readonly RequestRow[],
  rows: number,
): RequestDataColumn[] {
  const objects = Array.isArray(given)
    ? (given as readonly RequestRow[])
    : Array.from({ length: rows }, () => given as RequestRow);
  const names = new Set(objects.flatMap((object) => Object.keys(object)));
  return [...names].map((name) => {
    const type = plan.derivation?.requestFields.find((field) => field.name === name)?.type;
    const values = objects.map((object) => jsonValue(type, object[name] ?? null));
    const kind = type === undefined || type === 'TIMESTAMP' ? 'INT64' : type;
    return { name, kind, values };
  });
}

/** What the text of a URL's parameter means for a field: a number where it is one. */
export function requestText(type: FieldType | undefined, text: string | boolean): string | number | boolean {
  if (type === 'BOOL' && (text === 'true' || text === 'false')) return text === 'true';
  const isNumber = type === 'DOUBLE' && typeof text === 'string' && text.trim() !== '' && Number.isFinite(Number(text));
  return isNumber ? Number(text) : text;
}

function jsonValue(type: FieldType | undefined, value: RequestRow[string] | undefined): Datum {
  if (value === undefined) return null;
  if (type === 'TIMESTAMP' && (typeof value === 'string' || typeof value === 'number'))
    return BigInt(parseTimeUs(value, 'request_data'));
  if (type === 'INT64' && typeof value === 'string' && /^-?\d{1,18}$/.test(value)) return BigInt(value);
  return value;
}
