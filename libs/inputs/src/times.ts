import { definitions } from '@millrace/contracts';
import { Instant } from './rows.ts';

const { SECONDS, MILLISECONDS, MONTH_FIRST, DAY_FIRST } = definitions.TimeFormat;

const iso =
  /^([+-]?\d{4,6})-?(\d\d)-?(\d\d)(?:[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(?:([Zz]|UTC|GMT)|([+-])(\d\d):?(\d\d)?)?$/;
const slashed = /^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:[ T](\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?$/;
const english =
  /^(?:[A-Z][a-z]{2,8},? )?(?:[A-Z][a-z]{2,8}\.? \d{1,2},? \d{4}|\d{1,2}[ -][A-Z][a-z]{2,8}[ -]\d{4})(?:,? \d{1,2}:\d\d(?::\d\d)?(?: ?[AP]M)?)?$/;

/** A value of a file as UTC microseconds; undefined when it is not a time of that format. */
export function toTimeUs(value: unknown, format: definitions.TimeFormat): number | undefined {
  if (value instanceof Instant) return value.us;
  if (typeof value === 'number' || typeof value === 'bigint') return numberUs(Number(value), format);
  if (typeof value !== 'string') return undefined;
  const text = value.trim();
  if (/^-?\d+(\.\d+)?$/.test(text) && !(format !== SECONDS && format !== MILLISECONDS && /^\d{8}$/.test(text)))
    return numberUs(Number(text), format);
  return textUs(text, format);
}

function numberUs(value: number, format: definitions.TimeFormat): number | undefined {
  const us = Math.round(value * (format === SECONDS ? 1e6 : format === MILLISECONDS ? 1e3 : 1));
  return Number.isSafeInteger(us) ? us : undefined;
}

function textUs(text: string, format: definitions.TimeFormat): number | undefined {
  const match = iso.exec(text);
  if (match !== null) {
    const [, year, month, day, hour, minute, second, fraction, , sign, offsetHour, offsetMinute] = match;
    const offsetUs = (Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0)) * 60e6 * (sign === '-' ? -1 : 1);
    const us = clockUs([year, month, day, hour, minute, second], fraction);
    return us === undefined ? undefined : us - offsetUs;
  }
  const parts = slashed.exec(text);
  if (parts !== null && (format === MONTH_FIRST || format === DAY_FIRST)) {
    const [, first, second, year, hour, minute, seconds, fraction] = parts;
    const [month, day] = format === MONTH_FIRST ? [first, second] : [second, first];
    return clockUs([year, month, day, hour, minute, seconds], fraction);
  }
  if (!english.test(text)) return undefined;
  const ms = Date.parse(`${text} UTC`);
  return Number.isNaN(ms) ? undefined : ms * 1000;
}

/** Undefined for a day or an hour that does not exist. */
function clockUs(parts: readonly (string | undefined)[], fraction = ''): number | undefined {
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts.map((part) => Number(part ?? 0));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const ms = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000;
  return ms * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}
