/** 1970-01-01 and 2200-01-01: event times lie in between. */
export const eventTimeMinUs = 0;
export const eventTimeEndUs = Date.UTC(2200, 0, 1) * 1000;
/** What ClickHouse's DateTime64 holds: TIMESTAMP fields lie in [1900, 2300). */
export const timestampMinUs = Date.UTC(1900, 0, 1) * 1000;
export const timestampEndUs = Date.UTC(2300, 0, 1) * 1000;

const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** RFC 3339 text → UTC microseconds (digits beyond the sixth are cut); NaN when it is not a valid time. */
export function parseRfc3339Us(text: string): number {
  const match = rfc3339.exec(text);
  if (match === null) return Number.NaN;
  const [, year, month, day, hour, minute, second, fraction = '', sign, offsetHour = '0', offsetMinute = '0'] = match;
  const atMs = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const real = new Date(atMs);
  const exists =
    real.getUTCMonth() === Number(month) - 1 &&
    real.getUTCDate() === Number(day) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60 &&
    Number(offsetHour) < 24 &&
    Number(offsetMinute) < 60;
  if (!exists) return Number.NaN;
  const offsetMs = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000 * (sign === '-' ? -1 : 1);
  return (atMs - offsetMs) * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

/** Microseconds, decimal text of them, or RFC 3339 → microseconds; NaN when it is none of these. */
export function parseTimeUs(value: unknown): number {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : Number.NaN;
  if (typeof value !== 'string') return Number.NaN;
  if (!/^-?\d{1,16}$/.test(value)) return parseRfc3339Us(value);
  const timeUs = Number(value);
  return Number.isSafeInteger(timeUs) ? timeUs : Number.NaN;
}

export function formatUs(timeUs: number): string {
  const date = new Date(timeUs / 1000);
  return Number.isNaN(date.getTime()) ? `${timeUs} µs` : date.toISOString();
}
