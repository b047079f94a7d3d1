import { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';

const { FieldType } = definitions;

/** A value as ingestion takes it in JSON. Integers beyond 2^53 are decimal text there. */
export type FieldValue = string | number | boolean | null;
export type ReadField = (value: unknown, column: string, row: number) => FieldValue;

/** How a column of a data frame is read, for a field's type. Text is taken for every type: Feast's gRPC push knows nothing else. */
export function fieldReader(type: definitions.FieldType): ReadField {
  const read = readers[type];
  const typeName = Object.entries(FieldType).find(([, value]) => value === type)?.[0] ?? '';
  return (value, column, row) => {
    if (value === null || value === undefined) return null;
    const found = read?.(value);
    if (found !== undefined) return found;
    const shown = typeof value === 'object' ? 'an object' : `${typeof value} "${value}"`;
    throw new MeshError(
      'WRONG_TYPE',
      `column "${column}" of row ${row} is ${shown} and the source's field is ${typeName}`,
      { column, row, type: typeName },
    );
  };
}

const readers: Readonly<Partial<Record<definitions.FieldType, (value: unknown) => FieldValue | undefined>>> = {
  [FieldType.BOOL](value) {
    if (typeof value === 'boolean') return value;
    const text = String(value).toLowerCase();
    return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined;
  },
  [FieldType.INT64](value) {
    if (typeof value === 'number') return Number.isInteger(value) ? value : undefined;
    const text = typeof value === 'bigint' || typeof value === 'string' ? String(value).trim() : '';
    return /^-?\d{1,19}$/.test(text) ? text : undefined;
  },
  [FieldType.DOUBLE](value) {
    if (typeof value !== 'number' && typeof value !== 'bigint' && typeof value !== 'string') return undefined;
    if (typeof value === 'string' && value.trim() === '') return undefined;
    const number = Number(value);
    return Number.isFinite(number) ? number : undefined;
  },
  [FieldType.STRING]: (value) => (typeof value === 'string' ? value : undefined),
  [FieldType.TIMESTAMP]: (value) => timeUsOf(value),
};

/**
 * A time as Feast's users write it → UTC microseconds: ISO 8601 with `T` or a space, UTC where it names no zone; or a number since 1970, in
 * seconds (Feast's UnixTimestamp), milli-, micro- or nanoseconds, told apart by its size. Undefined when it is none.
 */
export function timeUsOf(value: unknown): number | undefined {
  if (typeof value === 'bigint') return numberUs(value, Number(value));
  if (typeof value === 'number') return Number.isFinite(value) ? numberUs(undefined, value) : undefined;
  if (typeof value !== 'string') return undefined;
  const text = value.trim();
  if (/^-?\d{1,19}$/.test(text)) return numberUs(BigInt(text), Number(text));
  const match =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?\s?(Z|UTC|[+-]\d{2}:?\d{2})?$/i.exec(text);
  if (!match) return undefined;
  const [, day, time = '00:00', seconds = '00', fraction = '', zone = 'Z'] = match;
  const offset = /^[+-]/.test(zone) ? `${zone.slice(0, 3)}:${zone.slice(-2)}` : 'Z';
  const ms = Date.parse(`${day}T${time}:${seconds}${offset}`);
  return Number.isNaN(ms) ? undefined : ms * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

/** Seconds stay below 1e11 until the year 5138, and milliseconds are above it from March 1973 on; and so on. */
function numberUs(exact: bigint | undefined, value: number): number {
  const size = Math.abs(value);
  if (size < 1e11) return Math.round(value * 1e6);
  if (size < 1e14) return Math.round(value * 1e3);
  if (size < 1e17) return Math.round(value);
  return Number((exact ?? BigInt(value)) / 1000n);
}
