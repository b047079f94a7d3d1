import { parseDurationUs } from '@millrace/kernel';
import { secondsToTime } from './conversions.ts';
import type { Functions } from './function-spec.ts';
import { constantOf } from './literals.ts';
import { type Node, strict, want } from './node.ts';
import { letSql } from './sql-pieces.ts';

/** What ClickHouse's calendar knows: 1900 to 2299. The parts of other times are null. */
const firstMs = Date.UTC(1900, 0, 1);
const firstUs = BigInt(firstMs) * 1000n;
const beyondUs = BigInt(Date.UTC(2300, 0, 1)) * 1000n;
const dayMs = 86_400_000;

/** Times in UTC. Numbering is CEL's: months, days of the month (getDayOfMonth) and of the year from 0, Sunday is 0; getDate counts from 1. */
export const timeFunctions: Functions = {
  timestamp: {
    signature: 'timestamp("2001-03-01T12:00:00Z") or timestamp(seconds since 1970)',
    arguments: [1, 1],
    build([x]) {
      if (x.type === 'TIMESTAMP') return x;
      if (x.type === 'INT64') return secondsToTime(x);
      if (typeof x.constant !== 'string')
        throw new Error('timestamp takes a text that is written out, or an INT64 of seconds');
      return constantOf('TIMESTAMP', parseTimeUs(x.constant));
    },
  },
  duration: {
    signature: 'duration("1h30m"), in microseconds',
    arguments: [1, 1],
    build([x]) {
      if (typeof x.constant !== 'string')
        throw new Error('duration takes a text that is written out, as duration("90s")');
      const negative = x.constant.startsWith('-');
      const us = BigInt(parseDurationUs(negative ? x.constant.slice(1) : x.constant));
      return constantOf('INT64', negative ? -us : us);
    },
  },
  getFullYear: part(
    'getFullYear',
    (time) => time.getUTCFullYear(),
    (time) => `toYear(${time})`,
  ),
  getMonth: part(
    'getMonth',
    (time) => time.getUTCMonth(),
    (time) => `toMonth(${time}) - 1`,
  ),
  getDate: part(
    'getDate',
    (time) => time.getUTCDate(),
    (time) => `toDayOfMonth(${time})`,
  ),
  getDayOfMonth: part(
    'getDayOfMonth',
    (time) => time.getUTCDate() - 1,
    (time) => `toDayOfMonth(${time}) - 1`,
  ),
  getDayOfWeek: part(
    'getDayOfWeek',
    (time) => time.getUTCDay(),
    (time) => `toDayOfWeek(${time}) % 7`,
  ),
  getDayOfYear: part(
    'getDayOfYear',
    (time) => Math.floor((time.getTime() - Date.UTC(time.getUTCFullYear(), 0, 1)) / dayMs),
    (time) => `toDayOfYear(${time}) - 1`,
  ),
  getHours: part(
    'getHours',
    (time) => time.getUTCHours(),
    (time) => `toHour(${time})`,
  ),
  getMinutes: part(
    'getMinutes',
    (time) => time.getUTCMinutes(),
    (time) => `toMinute(${time})`,
  ),
  getSeconds: part(
    'getSeconds',
    (time) => time.getUTCSeconds(),
    (time) => `toSecond(${time})`,
  ),
  getMilliseconds: part(
    'getMilliseconds',
    (time) => time.getUTCMilliseconds(),
    (time) => `toMillisecond(${time})`,
  ),
};

function part(name: string, compute: (time: Date) => number, sql: (time: string) => string): Functions[string] {
  return {
    signature: `${name}() of a TIMESTAMP, in UTC`,
    arguments: [1, 1],
    build([time]) {
      want(time, 'TIMESTAMP', name);
      return partOf(time, compute, sql);
    },
  };
}

function partOf(time: Node, compute: (time: Date) => number, sql: (time: string) => string): Node {
  return strict(
    'INT64',
    [time],
    (us: bigint) => {
      if (us < firstUs || us >= beyondUs) return null;
      return BigInt(compute(new Date(Number((us - firstUs) / 1000n) + firstMs)));
    },
    ([value = ''], scope) =>
      letSql(
        scope,
        [value],
        (us) =>
          `if(${us} >= ${firstUs} AND ${us} < ${beyondUs}, toInt64(${sql(`fromUnixTimestamp64Micro(${us}, 'UTC')`)}), NULL)`,
      ),
  );
}

function parseTimeUs(text: string): bigint {
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  const ms = match ? Date.parse(`${match[1]}${match[3]}`) : Number.NaN;
  if (Number.isNaN(ms)) throw new Error(`"${text}" is not a time; write RFC 3339, as "2001-03-01T12:00:00Z"`);
  return BigInt(ms) * 1000n + BigInt((match?.[2] ?? '').padEnd(6, '0'));
}
