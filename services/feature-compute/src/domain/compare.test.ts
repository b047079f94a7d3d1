import { expect, test } from 'vitest';
import { sameValue } from './compare.ts';

const mean = { function: 'mean', type: 'DOUBLE' } as const;
const variance = { function: 'variance', type: 'DOUBLE' } as const;
const count = { function: 'count', type: 'INT64' } as const;

test('counts agree exactly, whatever integer type carries them', () => {
  expect(sameValue(3, 3n, count)).toBe(true);
  expect(sameValue(2 ** 53, 2n ** 53n + 1n, count)).toBe(false);
});

test('min and max of floats agree exactly', () => {
  const max = { function: 'max', type: 'DOUBLE' } as const;
  expect(sameValue(0.1, 0.1, max)).toBe(true);
  expect(sameValue(0.1, 0.1 + 1e-16, max)).toBe(false);
});

test('entropies, sums of shares in any order, agree to 1e-9 relative', () => {
  const entropy = { function: 'entropy', type: 'DOUBLE' } as const;
  expect(sameValue(1.37928048729106, 1.3792804872910602, entropy)).toBe(true);
  expect(sameValue(1.3792804, 1.3792805, entropy)).toBe(false);
});

test('means agree to 1e-9 relative and no less', () => {
  expect(sameValue(1, 1 + 5e-10, mean)).toBe(true);
  expect(sameValue(1, 1 + 5e-9, mean)).toBe(false);
});

test('a null equals only a null', () => {
  expect(sameValue(null, null, mean)).toBe(true);
  expect(sameValue(null, 0, mean)).toBe(false);
});

test('the variance of large equal values may differ from 0 by their rounding, not by more', () => {
  expect(sameValue(0, 1e-7, variance)).toBe(false);
  expect(sameValue(0, 1e-7, variance, { largest: 1e6, count: 10 })).toBe(true);
  expect(sameValue(0, 10, variance, { largest: 1e6, count: 10 })).toBe(false);
});

test('texts and flags agree exactly', () => {
  expect(sameValue('a', 'a', { function: 'last', type: 'STRING' })).toBe(true);
  expect(sameValue('1', 1, { function: 'last', type: 'STRING' })).toBe(false);
  expect(sameValue(true, false, { function: 'first', type: 'BOOL' })).toBe(false);
});

test('lists agree value by value, exactly and in their order', () => {
  const how = { function: 'last_n', type: 'INT64[]' } as const;
  expect(sameValue([1, 2n ** 60n], [1n, 2n ** 60n], how)).toBe(true);
  expect(sameValue([], [], how)).toBe(true);
  expect(sameValue([1, 2], [2, 1], how)).toBe(false);
  expect(sameValue([1], [1, 1], how)).toBe(false);
  expect(sameValue([1, 2], null, how)).toBe(false);
  expect(sameValue(['a', '1'], ['a', '1'], { function: 'top_k', type: 'STRING[]' })).toBe(true);
  expect(sameValue(['1'], [1], { function: 'top_k', type: 'STRING[]' })).toBe(false);
});

test('what divides by a remainder of a cancellation agrees to 1e-6, a change to the rounding of its windows', () => {
  for (const fn of ['ratio', 'zscore', 'trend'] as const) {
    expect(sameValue(3, 3 + 2e-6, { function: fn, type: 'DOUBLE' })).toBe(true);
    expect(sameValue(3, 3 + 2e-5, { function: fn, type: 'DOUBLE' })).toBe(false);
  }
  const change = { function: 'change', type: 'DOUBLE' } as const;
  expect(sameValue(1e-7, 1e-7 + 1e-11, change)).toBe(false);
  expect(sameValue(1e-7, 1e-7 + 1e-11, change, { largest: 100, count: 1 })).toBe(true);
  expect(sameValue(1e-7, 2e-7, change, { largest: 100, count: 1 })).toBe(false);
});
