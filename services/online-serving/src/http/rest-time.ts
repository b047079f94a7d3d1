import { MeshError } from '@millrace/kernel';

/** RFC 3339 to the microsecond, or microseconds since 1970. */
export function parseTimeUs(time: string | number, field = 'as_of'): number {
  if (typeof time === 'number') return time;
  if (/^\d+$/.test(time)) return Number(time);
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6})\d*)?(Z|[+-]\d{2}:\d{2})$/.exec(time);
  const ms = match ? Date.parse(`${match[1]}${match[3]}`) : Number.NaN;
  if (match === null || Number.isNaN(ms)) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `${field} "${time}" is not a time; write RFC 3339 like "2001-03-01T12:00:00Z", or microseconds since 1970`,
      { field, value: time },
    );
  }
  return ms * 1000 + Number((match[2] ?? '').padEnd(6, '0'));
}
