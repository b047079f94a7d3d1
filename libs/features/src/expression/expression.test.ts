import { expect, test } from 'vitest';
import { compileExpression, type Variable } from './expression.ts';
import { compileFilter } from './filter.ts';
import type { Value } from './node.ts';

const variables: readonly Variable[] = [
  { name: 'delay', type: 'DOUBLE' },
  { name: 'count', type: 'INT64' },
  { name: 'late', type: 'BOOL' },
  { name: 'carrier', type: 'STRING' },
  { name: 'as_of', type: 'TIMESTAMP' },
];
const names = variables.map(({ name }) => name);
const noon = 983_448_000_250_000n;

function evaluated(text: string, given: Readonly<Record<string, Value>> = {}): Value {
  const row: Readonly<Record<string, Value>> = {
    delay: 2.5,
    count: 7n,
    late: true,
    carrier: 'AA',
    as_of: noon,
    ...given,
  };
  return compileExpression(text, variables).over(names)(names.map((name) => row[name] ?? null));
}

const max = 2n ** 63n - 1n;

test.each<[text: string, value: Value, given?: Readonly<Record<string, Value>>]>([
  ['delay * 2.0', 5],
  ['delay / count', 2.5 / 7],
  ['count / 2', 3n],
  ['count / 0', null],
  ['count % 0', null],
  ['delay / 0.0', null],
  ['count + 1', -max - 1n, { count: max }],
  ['delay * 1e300', null, { delay: 1e300 }],
  ['late ? delay : 0.0', 2.5],
  ['late ? delay : 0.0', 0, { late: null }],
  ['coalesce(delay, 0)', 0, { delay: null }],
  ['delay == null', true, { delay: null }],
  ['delay > 1.0 || late', true, { delay: null }],
  ['delay > 1.0 && late', null, { delay: null }],
  ['carrier in ["AA", "DL"]', true],
  ['carrier.lowerAscii() + "-" + string(count)', 'aa-7'],
  ['"h\u00e9llo \u{1F600}!".substring(6, 7)', '\u{1F600}'],
  ['carrier.matches("^A+$")', true],
  ['size("\u{1F600}")', 1n],
  ['" x ".trim()', 'x'],
  ['int("12") + int(2.9) + int(true)', 15n],
  ['int("12a")', null],
  ['double("1e400")', null],
  ['math.greatest(count, 3, 9)', 9n],
  ['min(delay, count)', null, { delay: null }],
  ['round(2.5) + round(3.5)', 6],
  ['sqrt(-1.0)', null],
  ['pow(2, 10)', 1024],
  ['as_of.getHours()', 12n],
  ['as_of.getDayOfWeek()', 4n],
  ['as_of.getMonth()', 2n],
  ['as_of.getDate()', 1n],
  ['as_of - timestamp("2001-03-01T11:00:00Z") > duration("1h")', true],
  ['(as_of - duration("1d")).getDate()', 28n],
  ['sin(as_of.getHours() * 0.2617993877991494)', Math.sin(12 * 0.2617993877991494)],
  ['int(as_of)', 983_448_000n],
])('%s is %s', (text, value, given) => {
  expect(evaluated(text, given)).toEqual(value);
});

test.each([
  ['amuont * 2.0', /at character 1 \("amuont"\): there is no "amuont"; names: delay, count, late, carrier, as_of/],
  ['delay +', /at character 8, cannot be parsed/],
  ['delay + carrier', /"\+" needs two numbers, not a DOUBLE and a STRING/],
  [
    'delay > carrier',
    /a DOUBLE and a STRING cannot be compared with ">"; convert the text with int\(…\) or double\(…\)/,
  ],
  ['late ? 1 : "x"', /several types: an INT64 and a STRING/],
  ['coalesce(null, null)', /all null/],
  ['carrier.reverse()', /there is no function "reverse"; functions: .*substring/],
  ['substring(carrier)', /was given 1 value; write substring\(text, start\)/],
  ['delay % 2.0', /"%" needs two integers/],
  ['carrier.matches("(a")', /is not a pattern of RE2/],
  ['carrier.matches(carrier)', /a pattern that is written out/],
  ['[1, 2]', /"list" is not supported/],
  ['carrier in []', /something in it/],
  ['1u', /unsigned/],
  ['string(delay)', /make it whole first/],
  ['timestamp("noon")', /"noon" is not a time; write RFC 3339/],
  ['duration("a while")', /not a duration/],
  ['null', /always null/],
  [`${'('.repeat(40)}1${'+ 1)'.repeat(40)}`, /deeper than 32 levels/],
  [`delay > ${'1'.repeat(10_001)}.0`, /over the limit of 10000/],
])('%s is refused, and the message says why', (text, message) => {
  expect(() => compileExpression(text, variables)).toThrow(message);
});

test('a filter is a condition, and unknown is no match', () => {
  expect(() => compileFilter('delay', [{ name: 'delay', type: 'DOUBLE', nullable: true }])).toThrow(
    'filter "delay" is a DOUBLE, not a condition',
  );
  const filter = compileFilter('delay > 1.0', [{ name: 'delay', type: 'DOUBLE', nullable: true }]);
  const passes = filter.bind(
    new Map([['delay', { type: 'f64', values: Float64Array.of(2, 0, 0), nulls: Uint8Array.of(0, 0, 1) }]]),
  );
  expect([0, 1, 2].map(passes)).toEqual([true, false, false]);
  expect(filter.sql((name) => `e.${name}`)).toBe('ifNull(CAST((e.delay > toFloat64(1)) AS Nullable(Bool)), false)');
});

test('a long chain of conditions is one level deep', () => {
  const text = Array.from({ length: 200 }, (_, at) => `count == ${at}`).join(' || ');
  expect(evaluated(text)).toBe(true);
});

test('an expression says what it uses', () => {
  const { uses, type } = compileExpression('coalesce(delay, 0) > count && late', variables);
  expect([uses, type]).toEqual([['delay', 'count', 'late'], 'BOOL']);
});
