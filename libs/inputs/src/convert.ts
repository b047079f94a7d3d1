import { definitions } from '@millrace/contracts';
import { Instant } from './rows.ts';
import { toTimeUs } from './times.ts';

/** A value of a file → a value of an event's JSON. What cannot be converted stays: the source's validator says what is wrong. */
export type Convert = (value: unknown) => unknown;

export function converterOf(field: definitions.SourceField, format: definitions.RowFormat): Convert {
  const nulls = new Set(['', ...format.nullValues]);
  const convert = byType(field.type, format.timeFormat);
  const keepEmpty = field.type === definitions.FieldType.STRING && !field.nullable;
  return (value) => {
    if (value === null || value === undefined) return null;
    if (typeof value === 'string' && nulls.has(value)) return value === '' && keepEmpty ? '' : null;
    return convert(value);
  };
}

function byType(type: definitions.FieldType, timeFormat: definitions.TimeFormat): Convert {
  switch (type) {
    case definitions.FieldType.BOOL:
      return toBool;
    case definitions.FieldType.INT64:
      return toInt64;
    case definitions.FieldType.DOUBLE:
      return toDouble;
    case definitions.FieldType.STRING:
      return toText;
    case definitions.FieldType.TIMESTAMP:
      return (value) => toTimeUs(value, timeFormat) ?? plain(value);
    case definitions.FieldType.VECTOR:
      return toVector;
    default:
      return plain;
  }
}

const truths: Readonly<Record<string, boolean>> = {
  true: true,
  t: true,
  yes: true,
  y: true,
  '1': true,
  false: false,
  f: false,
  no: false,
  n: false,
  '0': false,
};

function toBool(value: unknown): unknown {
  if (typeof value === 'boolean') return value;
  return truths[String(value).trim().toLowerCase()] ?? plain(value);
}

function toInt64(value: unknown): unknown {
  if (typeof value !== 'string') return plain(value);
  const text = value.trim();
  // "3.0" is how tables with gaps write 3
  const whole = /^([+-]?)(\d+)(?:\.0*)?$/.exec(text);
  if (whole === null) return plain(value);
  const [, sign, digits = ''] = whole;
  const number = Number(`${sign}${digits}`);
  return Number.isSafeInteger(number) ? number : `${sign === '-' ? '-' : ''}${digits.replace(/^0+(?=\d)/, '')}`;
}

function toDouble(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'string') return plain(value);
  const text = value.trim();
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : plain(value);
}

/** A list as it is; a text as the JSON array that it is in files without lists, such as CSV. */
function toVector(value: unknown): unknown {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<number>);
  if (typeof value !== 'string' || !value.trim().startsWith('[')) return plain(value);
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function toText(value: unknown): unknown {
  if (value instanceof Instant) return new Date(value.us / 1000).toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  return typeof value === 'object' ? toJson(value) : String(value);
}

/** As JSON writes it: whole numbers beyond 2^53 as text, times as microseconds, bytes as text, what is not finite as text. */
export function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (value instanceof Instant) return value.us;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  return value;
}

/** JSON of a value of a file, whatever lies inside it. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member) => plain(member)) ?? 'null';
}
