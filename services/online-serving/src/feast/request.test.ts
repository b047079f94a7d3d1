import { parseExactJson } from '@millrace/kernel';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { timeUsOf } from './field-values.ts';
import { parseFrame } from './frame.ts';

test('integers of any size come out of JSON as they went in', () => {
  fc.assert(
    fc.property(
      fc.array(fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }), { minLength: 1 }),
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      (integers, text, double) => {
        const json = `{"a":[${integers.join(',')}],"s":${JSON.stringify(text)},"d":${JSON.stringify(double)},"deep":{"n":-${2n ** 63n}}}`;
        const parsed = parseExactJson(json) as {
          a: (number | bigint)[];
          s: string;
          d: number | bigint;
          deep: { n: bigint };
        };
        expect(parsed.a.map(BigInt)).toEqual(integers);
        expect(parsed.s).toBe(text);
        // a whole number may come as a bigint
        expect(Number(parsed.d)).toBe(Object.is(double, -0) ? 0 : double);
        expect(parsed.deep.n).toBe(-(2n ** 63n));
      },
    ),
  );
});

test.each([
  ['2026-01-02T03:04:05.678000', 1_767_323_045_678_000],
  ['2026-01-02 03:04:05.678911+00:00', 1_767_323_045_678_911],
  ['2026-01-02T05:04:05+02:00', 1_767_323_045_000_000],
  ['2026-01-01 22:34:05-0430', 1_767_323_045_000_000],
  ['2026-01-02T03:04:05.123456789Z', 1_767_323_045_123_456],
  ['2026-01-02 03:04:05 UTC', 1_767_323_045_000_000],
  ['2026-01-02', 1_767_312_000_000_000],
  [1_767_323_045, 1_767_323_045_000_000],
  [1_767_323_045.678, 1_767_323_045_678_000],
  [1_767_323_045_678, 1_767_323_045_678_000],
  [1_767_323_045_678_911, 1_767_323_045_678_911],
  [1_767_323_045_678_911_222n, 1_767_323_045_678_911],
  ['1767323045', 1_767_323_045_000_000],
  [0, 0],
])('%s is a time', (given, timeUs) => {
  expect(timeUsOf(given)).toBe(timeUs);
});

test.each(['', 'soon', '2026-13-01', '2026-01-02T25:00:00', null, undefined, true, Number.NaN, []])(
  '%s is no time',
  (given) => {
    expect(timeUsOf(given)).toBeUndefined();
  },
);

test('frames come as lists, or as pandas gives them by default', () => {
  expect([...parseFrame({ a: [1, 2], b: { 0: 'x', 1: 'y' } }).columns]).toEqual([
    ['a', [1, 2]],
    ['b', ['x', 'y']],
  ]);
  expect(() => parseFrame({ a: [1], b: [1, 2] })).toThrow('same length');
  expect(() => parseFrame({ a: 1 })).toThrow('no list');
  expect(() => parseFrame({})).toThrow('no rows');
  expect(() => parseFrame({ a: [] })).toThrow('no rows');
});
